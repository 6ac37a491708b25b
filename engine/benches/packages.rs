//! What packing code costs: the processor and the memory for 50 MB of `node_modules`, next to
//! `zip -6`, and what is left of it for folders that were packed before.
//!
//! The targets: at most 1.5 times the processor time of `zip -6` and 150 MB of memory for one folder,
//! and less than a second for 40 functions with such folders that haven't changed. It needs `zip`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use engine::spec::{Depth, Spec, SpecOverrides};
use rustix::time::{ClockId, clock_gettime};

const FUNCTIONS: usize = 40;
/// In bytes.
const FOLDER: usize = 50_000_000;
/// The average file of `node_modules` has some ten kilobytes.
const FILE: usize = 10_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir_all(at.join(".git")).unwrap();
    let first = at.join("code-0");
    write_modules(&first);

    let zip = zipped(&first, &at.join("other.zip"));
    let uncached = measured(|| load(at, 1, None));
    println!("pack 50 MB, by `zip -6`:            {:5.2} s of processor", zip.as_secs_f64());
    let ratio = uncached.processor.as_secs_f64() / zip.as_secs_f64();
    println!(
        "pack 50 MB, by engine:              {:5.2} s of processor, {ratio:.2} times as much",
        uncached.processor.as_secs_f64()
    );
    println!("memory, at most:                    {:5} MB", peak_memory() / 1_000_000);

    for copy in 1..FUNCTIONS {
        link(&first, &at.join(format!("code-{copy}")));
    }
    let cache = at.join("cache");
    // Files that were just written may change within the same tick of the clock.
    std::thread::sleep(Duration::from_secs(3));
    let one = measured(|| load(at, 1, Some(&cache)));
    println!("1 function, first time:             {:5.2} s", one.elapsed.as_secs_f64());
    let again = measured(|| load(at, 1, Some(&cache)));
    println!("1 function, again:                  {:5.3} s", again.elapsed.as_secs_f64());
    let all = measured(|| load(at, FUNCTIONS, Some(&cache)));
    println!("{FUNCTIONS} functions, first time:           {:5.2} s", all.elapsed.as_secs_f64());
    let again = measured(|| load(at, FUNCTIONS, Some(&cache)));
    println!(
        "{FUNCTIONS} functions, again:                {:5.2} s, {:.2} s of processor",
        again.elapsed.as_secs_f64(),
        again.processor.as_secs_f64()
    );
}

struct Measured {
    elapsed: Duration,
    processor: Duration,
}

fn measured(work: impl FnOnce()) -> Measured {
    let processor = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let (begin, before) = (Instant::now(), processor());
    work();
    Measured { elapsed: begin.elapsed(), processor: processor() - before }
}

/// Loads a spec with this number of functions, each with its own folder.
fn load(at: &Path, functions: usize, cache: Option<&Path>) {
    let mut text = "team: blue-owls\nregion: eu-central-1\nresources:\n".to_owned();
    for n in 0..functions {
        let lines = "type: function, runtime: nodejs22.x, handler: index.handler";
        writeln!(text, "  function-{n}: {{ {lines}, code: code-{n} }}").unwrap();
    }
    let overrides = SpecOverrides { cache: cache.map(Path::to_owned), ..SpecOverrides::default() };
    let spec = Spec::parse(&engine::kinds::all(), &at.join("team.yaml"), text.as_bytes(), &overrides, Depth::Full);
    assert_eq!(spec.unwrap().managed("function").count(), functions);
}

/// Modules with a text that compresses about as well as JavaScript.
fn write_modules(folder: &Path) {
    const WORDS: [&str; 16] = [
        "const",
        "return",
        "function",
        "exports",
        "value",
        "index",
        "=>",
        "{",
        "}",
        "(options)",
        "await",
        "length",
        "this.state",
        "=",
        "null;",
        "\n",
    ];
    let mut random: u64 = 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    for n in 0..FOLDER / FILE {
        let module = folder.join(format!("node_modules/module-{:03}/lib", n / 10));
        fs::create_dir_all(&module).unwrap();
        let mut text = String::new();
        while text.len() < FILE {
            let word = next();
            let known = WORDS.get(usize::try_from(word % 24).unwrap());
            match known {
                Some(word) => text.push_str(word),
                None => write!(text, "name{:x}", word % 4096).unwrap(),
            }
            text.push(' ');
        }
        fs::write(module.join(format!("file-{n}.js")), text).unwrap();
    }
    fs::write(folder.join("index.js"), "exports.handler = async () => 1;\n").unwrap();
}

/// The same files under another folder.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { link(&from, &to) } else { fs::hard_link(&from, &to).unwrap() }
    }
}

/// The processor time of `zip`.
fn zipped(folder: &Path, to: &Path) -> Duration {
    let line = format!("zip -q -6 -r {} . && times", to.display());
    let output = Command::new("sh").args(["-c", &line]).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // The second line has the times of the children: `0m1.90s 0m0.10s`.
    let times = text.lines().nth(1).expect("two lines").split_whitespace();
    let seconds = |time: &str| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    Duration::from_secs_f64(times.map(seconds).sum())
}

/// In bytes; 0 where the system doesn't tell.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() * 1024
}
