//! Draws a graph as SVG, alone or in a page.
//!
//! **Invariant:** sizes are estimated from texts alone, so the same graph gives the same picture on
//! every machine.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use crate::plan::Action;

use super::super::page::page;
use super::super::plan::{ACTIONS, ActionStyle, action_style};
use super::layout::{BoxPosition, BoxSize, Layout, LayoutEdge, LineSegment, count, layout};
use super::{Edge, GraphNode, GraphView, Paint, paint};

impl GraphView {
    /// The SVG; a standalone one includes its style.
    pub(super) fn svg(&self, is_alone: bool) -> Markup {
        let (turned, Layout { positions, lines, along, across }) = self.oriented_layout();
        let legend = if self.summary.is_some() { self.actions() } else { Vec::new() };
        let sentences = legend.iter().map(|(action, n)| (*action, format!("{} ({n})", action_style(*action).phrase)));
        let sentences: Vec<(Action, String)> = sentences.collect();
        let (right, bottom) = turned.point(along, across);
        let needed = sentences.iter().map(|(_, text)| LEGEND_LEAD + room(text, REGULAR)).fold(right, f64::max);
        let legend_top = 2.0 * MARGIN + bottom;
        let legend_height = if legend.is_empty() { 0.0 } else { MARGIN + LEGEND_LINE * count(legend.len()) };
        let (width, height) = (needed.ceil() + 2.0 * MARGIN, (bottom + legend_height).ceil() + 2.0 * MARGIN);
        let style = if is_alone { css() } else { String::new() };
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
                role="img" font-family="system-ui, sans-serif" class=[self.summary.as_ref().map(|_| "plan")] {
                title { "The dependencies of " (self.title) }
                style { (PreEscaped(style)) }
                defs {
                    marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto" {
                        path class="head" d="M0 0L10 5L0 10z" {}
                    }
                }
                rect class="ground" width=(width) height=(height) {}
                g transform={ "translate(" (MARGIN) " " (MARGIN) ")" } {
                    @for (edge, runs) in self.edges.iter().zip(&lines) { (line(edge, runs, turned)) }
                    @for (node, position) in self.nodes.iter().zip(&positions) { (self.node(node, *position, turned)) }
                }
                @for (nth, (action, text)) in sentences.iter().enumerate() {
                    g class={ "key " (action_style(*action).word) }
                        transform={ "translate(" (MARGIN) " " (legend_top + LEGEND_LINE * count(nth)) ")" } {
                        rect class="box" width="34" height="18" rx="4" {}
                        text class="name" x="17" y="14" text-anchor="middle" { (action_style(*action).symbol.trim()) }
                        text class="detail" x=(LEGEND_LEAD) y="13" { (text) }
                    }
                }
            }
        }
    }

    fn node(&self, node: &GraphNode, position: BoxPosition, turned: Turned) -> Markup {
        let GraphNode { kind, name, action, .. } = node;
        let word = action_style(*action).word;
        let phrase = if self.summary.is_some() { action_style(*action).phrase } else { "" };
        let (x, y) = turned.point(position.along, position.across);
        let (width, height) = turned.point(position.extent_along, position.extent_across);
        let middle = (height / 2.0).round();
        html! {
            g class={ "node " (word) } transform={ "translate(" (x) " " (y) ")" } {
                title { (node.resource) " (" (kind) " " (name) ") " (phrase) }
                rect class="box" width=(width) height=(height) rx="8" {}
                rect class={ "kind " (kind) } width="6" height=(height) rx="3" {}
                text class="name" x="18" y=(middle - 4.0) { (self.caption(node)) }
                text class="detail" x="18" y=(middle + 14.0) { (detail(node)) }
            }
        }
    }

    pub(super) fn page(&self) -> Markup {
        let resources = if self.nodes.len() == 1 { "resource" } else { "resources" };
        let body = html! {
            h1 { (self.title) }
            p {
                (self.nodes.len()) " " (resources) ". Arrows point from a dependency to the resource that depends on it, \
                 labeled with the property that refers to it."
            }
            @if let Some(summary) = &self.summary { p { strong { (summary) } } }
            div class="picture" { (self.svg(false)) }
        };
        page("engine graph", &self.title, &(css() + PAGE), &body)
    }

    /// The layout and its direction: to the right, or down if that would be too wide.
    fn oriented_layout(&self) -> (Turned, Layout) {
        let right = self.layout_along(Turned::Right);
        if right.along <= WIDEST || right.along <= 2.0 * right.across {
            return (Turned::Right, right);
        }
        (Turned::Down, self.layout_along(Turned::Down))
    }

    fn layout_along(&self, turned: Turned) -> Layout {
        let extent = |width: f64, height: f64| {
            let (along, across) = turned.point(width, height);
            BoxSize { along, across }
        };
        let boxes: Vec<BoxSize> = self.nodes.iter().map(|node| extent(self.width_of(node), HEIGHT)).collect();
        let links = self.edges.iter().map(|Edge { from, to, properties }| {
            let words = extent(width(&properties.join(", "), LABEL_LETTER) + LABEL_PAD, LABEL_HEIGHT);
            LayoutEdge { from: *from, to: *to, words }
        });
        layout(&boxes, &links.collect::<Vec<LayoutEdge>>())
    }

    fn width_of(&self, node: &GraphNode) -> f64 {
        let widest = room(&self.caption(node), BOLD).max(room(&detail(node), REGULAR));
        (widest + 32.0).max(120.0).round()
    }
}

/// A line between two boxes, labeled with its properties next to its last straight part.
fn line(edge: &Edge, runs: &[LineSegment], turned: Turned) -> Markup {
    let mut path = String::new();
    let mut before = None::<LineSegment>;
    for run in runs {
        let point = |along: f64, across: f64| {
            let (x, y) = turned.point(along, across);
            format!("{x} {y}")
        };
        let _ = match before {
            None => write!(path, "M{}", point(run.begin, run.across)),
            Some(last) => {
                let half = (last.end + run.begin) / 2.0;
                let (out, back) = (point(half, last.across), point(half, run.across));
                write!(path, "C{out} {back} {}", point(run.begin, run.across))
            }
        };
        let _ = write!(path, "L{}", point(run.end, run.across));
        before = Some(*run);
    }
    let words = edge.properties.join(", ");
    let (end, across) = before.map_or((0.0, 0.0), |last| (last.end, last.across));
    let (x, y) = turned.point(end, across);
    let (x, y, anchor) = match turned {
        Turned::Right => (x - 12.0, y - 5.0, "end"),
        Turned::Down => (x + 6.0, y - 10.0, "start"),
    };
    html! {
        g class="edge" {
            title { (words) }
            path class="line" d=(path) marker-end="url(#arrow)" {}
            text class="label" x=(x) y=(y) text-anchor=(anchor) { (words) }
        }
    }
}

/// The direction of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turned {
    Right,
    Down,
}

impl Turned {
    /// From along and across to x and y, and back.
    fn point(self, along: f64, across: f64) -> (f64, f64) {
        match self {
            Turned::Right => (along, across),
            Turned::Down => (across, along),
        }
    }
}

fn width(text: &str, letter: f64) -> f64 {
    count(text.chars().count()) * letter
}

/// The width of a text, estimated for the widest common font; `letter` is the width of an average
/// letter.
fn room(text: &str, letter: f64) -> f64 {
    let parts = text.chars().map(|c| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | ' ' => 0.55,
        'f' | 't' | 'r' | '-' | '(' | ')' | '/' => 0.7,
        'm' | 'w' | 'M' | 'W' => 1.5,
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => 1.0,
        c if c.is_ascii() => 1.2,
        _ => 1.5,
    });
    parts.sum::<f64>() * letter
}

const HEIGHT: f64 = 52.0;
const MARGIN: f64 = 16.0;
/// The width of an average letter of a name, and of the text below it.
const BOLD: f64 = 10.0;
const REGULAR: f64 = 7.4;
/// The width of a letter of a label, which is monospaced.
const LABEL_LETTER: f64 = 6.6;
const LABEL_HEIGHT: f64 = 16.0;
const LABEL_PAD: f64 = 12.0;
const LEGEND_LEAD: f64 = 44.0;
const LEGEND_LINE: f64 = 24.0;
/// A picture that is wider than this, and much wider than high, goes down instead.
const WIDEST: f64 = 1600.0;
fn detail(GraphNode { kind, name, .. }: &GraphNode) -> String {
    // A mapping's name is an ID that AWS assigns.
    if name.is_empty() || *kind == "mapping" { kind.to_string() } else { format!("{kind} {name}") }
}

/// The style for light and dark mode.
fn css() -> String {
    let colors = |color: fn(Paint) -> &'static str| {
        ACTIONS.into_iter().fold(String::new(), |mut css, action| {
            let (ActionStyle { word, .. }, color) = (action_style(action), color(paint(action)));
            let _ = write!(css, ".{word} .box{{stroke:{color}}}");
            if !matches!(action, Action::None | Action::Import) {
                let _ = write!(css, ".{word} .box{{stroke-width:2.5;fill:{color};fill-opacity:.12}}");
            }
            css
        })
    };
    let (light, dark) = (colors(|it| it.light), colors(|it| it.dark));
    format!("{BASE}{light}@media(prefers-color-scheme:dark){{{DARK}{dark}}}")
}

const BASE: &str = "\
.ground{fill:#fff}.box{fill:#fff;stroke-width:1.5}.name{font-size:14px;font-weight:600;fill:#1f2328}\
.detail{font-size:12px;fill:#59636e}.line{fill:none;stroke:#8c959f;stroke-width:1.5}.head{fill:#8c959f}\
.label{font:11px ui-monospace,monospace;fill:#59636e}.plan .none .name{font-weight:400}\
.kind{fill:#8c959f}.kind.table{fill:#3b6fd4}.kind.function{fill:#d9730d}.kind.mapping{fill:#8250df}.kind.queue{fill:#1b7c83}\
.kind.permission{fill:#bf3989}.kind.role{fill:#57606a}.import .box{stroke-dasharray:5 4}";
const DARK: &str = "\
.ground{fill:#0d1117}.box{fill:#161b22}.name{fill:#e6edf3}.detail,.label{fill:#9198a1}.line{stroke:#6e7681}\
.head{fill:#6e7681}";
const PAGE: &str = ".picture{overflow:auto}";
