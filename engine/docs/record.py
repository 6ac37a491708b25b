#!/usr/bin/env python3
"""Draws the README's picture, run.svg, from a real run on the local AWS.

    cargo build && python3 engine/docs/record.py

Runs the commands below in a copy of this project's specs, as a terminal of 80 columns would show them, and writes their output with its
colors as SVG. Needs nothing but Python.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "target" / "debug" / "engine"
COMMANDS = [
    ["apply", "specs/team.yaml", "--local"],
    ["verify", "--local"],
    ["diff", "--local"],
]
# What the first use of a machine prints, and the plan, which the README shows as text.
SKIPPED_STARTS = ("installing ", "starting ", "functions run with ", "local AWS:")
LINE, CHAR, LEFT, TOP, COLUMNS = 20, 8.43, 20, 52, 80
CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c", "91": "r", "92": "g", "93": "y", "96": "c"}


def run(folder, arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": str(COLUMNS)}
    if "ENGINE_CACHE_DIR" in os.environ:
        environment["ENGINE_CACHE_DIR"] = os.environ["ENGINE_CACHE_DIR"]
    command = [str(ENGINE), *arguments, "--color", "always"]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout.splitlines()


def plain(line):
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def shown(arguments, lines):
    """The lines worth showing: of an apply what happens after the plan."""
    lines = [line for line in lines if not plain(line).startswith(SKIPPED_STARTS)]
    if arguments[0] == "apply":
        start = next(i for i, line in enumerate(lines) if plain(line).startswith("Plan:"))
        lines = lines[start:]
    return lines


def spans(line):
    """A line with SGR sequences as SVG text spans."""
    parts, classes = [], set()
    for text, codes in re.findall(r"([^\x1b]*)(?:\x1b\[([0-9;]*)m)?", line):
        if text:
            attribute = f' class="{" ".join(sorted(classes))}"' if classes else ""
            parts.append(f"<tspan{attribute}>{html.escape(text)}</tspan>")
        for code in codes.split(";") if codes else []:
            classes = set() if code in ("0", "") else classes | {CLASSES.get(code, "")} - {""}
    return "".join(parts)


def svg(lines):
    width, height = int(LEFT * 2 + COLUMNS * CHAR), TOP + len(lines) * LINE + 12
    rows = "\n".join(f'<text x="{LEFT}" y="{TOP + i * LINE}" xml:space="preserve">{spans(line)}</text>' for i, line in enumerate(lines))
    dots = "".join(f'<circle cx="{LEFT + 6 + 20 * i}" cy="20" r="6" fill="#{color}"/>' for i, color in enumerate(["ff5f57", "febc2e", "28c840"]))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="A terminal that runs engine apply, verify and diff on the local AWS">
<style>text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d4d9e0 }}
.b {{ font-weight: bold }} .d {{ opacity: .65 }} .r {{ fill: #ff7b72 }} .g {{ fill: #7ee787 }} .y {{ fill: #f2cc60 }} .c {{ fill: #79c0ff }}</style>
<rect width="{width}" height="{height}" rx="8" fill="#161b22"/>
{dots}
{rows}
</svg>
"""


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("specs", "lambda-src"):
            shutil.copytree(ROOT / part, folder / part)
        lines = []
        try:
            for arguments in COMMANDS:
                lines += [f"\x1b[2m$\x1b[0m \x1b[1mengine {' '.join(arguments)}\x1b[0m", *shown(arguments, run(folder, arguments)), ""]
        finally:
            subprocess.run([ENGINE, "local", "stop"], cwd=folder, env={"PATH": os.environ["PATH"], "HOME": name}, capture_output=True)
        (ROOT / "engine" / "docs" / "run.svg").write_text(svg(lines[:-1]))


main()
