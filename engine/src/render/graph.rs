//! Draws the dependency graph of a spec or a plan.
//!
//! Text, DOT, Mermaid, SVG and HTML draw the same nodes and edges; `layout` places them in the last two.
//!
//! **Invariant:** the same graph always gives the same output, which contains no value of a spec.

mod layout;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use crate::diagnostic::wrap;
use crate::inventory::Inventory;
use crate::plan::{Action, Change, Plan, Subject};
use crate::schema::Str;
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Path};

use super::page::page;
use super::{ACTIONS, Face, Look, face, summary};
use layout::{Extent, Layout, Link, Place, Run, count, layout};

/// Resources and their dependencies.
#[derive(Debug, Clone)]
pub struct Picture {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The plan's summary line; `None` for a spec.
    summary: Option<String>,
}

#[derive(Debug, Clone)]
struct Node {
    resource: String,
    kind: Str,
    /// The name in AWS; empty if it is the default one.
    name: String,
    action: Action,
}

/// From a dependency to its dependent.
#[derive(Debug, Clone)]
struct Edge {
    from: usize,
    to: usize,
    /// The properties that refer to it, or `depends_on`.
    properties: Vec<String>,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// A table of dependencies.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
    /// A picture.
    Svg,
    /// A page with the picture.
    Html,
}

impl Picture {
    /// The graph of a spec.
    pub fn of_spec(spec: &Spec) -> Picture {
        let nodes: Vec<Node> = spec.resources.iter().map(|declared| node(declared, Action::None)).collect();
        let at: HashMap<&str, usize> =
            spec.resources.iter().enumerate().map(|(at, declared)| (declared.name.as_str(), at)).collect();
        let mut edges = Vec::new();
        for (to, declared) in spec.resources.iter().enumerate() {
            let mut by_target: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (name, value) in &declared.desired {
                value.visit_templates(&Path::property(name), &mut |_, template| {
                    for hole in template.holes() {
                        let Hole::Output { resource, .. } = hole else { continue };
                        let Some(from) = at.get(resource.as_str()) else { continue };
                        let properties = by_target.entry(*from).or_default();
                        if !properties.contains(name) {
                            properties.push(name.clone());
                        }
                    }
                });
            }
            for (needed, _) in spec.graph.dependencies(&declared.name) {
                if let Some(from) = at.get(needed) {
                    let properties = by_target.entry(*from).or_default();
                    if properties.is_empty() {
                        properties.push("depends_on".to_owned());
                    }
                }
            }
            edges.extend(by_target.into_iter().map(|(from, properties)| Edge { from, to, properties }));
        }
        Picture { title: format!("{}/{}", spec.team, spec.stack), nodes, edges, summary: None }
    }

    /// The graph of a plan, including orphans.
    pub fn of_plan(spec: &Spec, inventory: &Inventory, plan: &Plan) -> Picture {
        let uncoloured = Look { colour: false, width: usize::MAX, plain: false };
        let mut picture = Picture { summary: Some(summary(plan, false, uncoloured)), ..Picture::of_spec(spec) };
        // By kind and name in AWS, which orphans refer to.
        let mut in_aws: HashMap<(&str, &str), usize> = HashMap::new();
        let mut leftovers: Vec<(usize, &Change)> = Vec::new();
        for change in &plan.changes {
            let at = match change.subject {
                Subject::Declared => picture.nodes.iter().position(|node| node.resource == change.resource),
                Subject::Leftover(_) => change.declared(spec, inventory).map(|declared| {
                    picture.nodes.push(node(declared, change.action));
                    leftovers.push((picture.nodes.len() - 1, change));
                    picture.nodes.len() - 1
                }),
            };
            let Some(at) = at else { continue };
            in_aws.insert((&change.kind, &change.name), at);
            if let Some(node) = picture.nodes.get_mut(at) {
                node.action = change.action;
            }
        }
        for (to, change) in leftovers {
            let mut by_target: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (property, kind, name) in change.hangs_on(spec, inventory) {
                if let Some(from) = in_aws.get(&(kind, name.as_str())) {
                    by_target.entry(*from).or_default().push(property.to_owned());
                }
            }
            picture.edges.extend(by_target.into_iter().map(|(from, properties)| Edge { from, to, properties }));
        }
        picture
    }

    /// Draws it.
    pub fn draw(&self, drawing: Drawing, look: Look) -> String {
        match drawing {
            Drawing::Text => self.text(look),
            Drawing::Dot => self.dot(),
            Drawing::Mermaid => self.mermaid(),
            Drawing::Svg => format!("{}\n", self.svg(true).into_string()),
            Drawing::Html => format!("{}\n", self.page().into_string()),
        }
    }

    /// Dependencies first, otherwise in the order of the file.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        for at in 0..self.nodes.len() {
            let mut path = vec![at];
            while let Some(at) = path.last().copied() {
                let needed = self.edges.iter().filter(|edge| edge.to == at).map(|edge| edge.from);
                // There are no cycles, so the path is finite.
                match needed.filter(|from| !order.contains(from)).min() {
                    Some(from) => path.push(from),
                    None => {
                        path.pop();
                        if !order.contains(&at) {
                            order.push(at);
                        }
                    }
                }
            }
        }
        order
    }

    fn text(&self, look: Look) -> String {
        let longest = |text: fn(&Node) -> &str| {
            self.nodes.iter().map(|node| text(node).chars().count()).max().unwrap_or_default()
        };
        let (names, kinds) = (longest(|node| &node.resource), longest(|node| &node.kind));
        let signs = match (&self.summary, look.plain) {
            (None, _) => 0,
            (Some(_), false) => 4,
            (Some(_), true) => longest(|node| face(node.action).word) + 1,
        };
        let lead = signs + names + 2 + kinds + 2;
        let room = if look.plain { usize::MAX } else { look.width.saturating_sub(lead) };
        let is_beside = room >= LEAST_ROOM;
        let (indent, room) = if is_beside { (lead, room) } else { (6, look.width.saturating_sub(6)) };
        let mut text = String::new();
        for at in self.order() {
            let Some(node) = self.nodes.get(at) else { continue };
            let Face { symbol, word, style, .. } = face(node.action);
            let sign = match (&self.summary, look.plain) {
                (None, _) => String::new(),
                (Some(_), true) => format!("{word:signs$}"),
                // Padded by hand: color codes have no width.
                (Some(_), false) => {
                    format!("{:1$}{2} ", "", 3_usize.saturating_sub(symbol.len()), look.paint(style, symbol))
                }
            };
            let name = if self.is_changed(node) { look.paint(style, &node.resource) } else { node.resource.clone() };
            let pad = names - node.resource.chars().count();
            let _ = write!(text, "{sign}{name}{:pad$}  {}", "", node.kind);
            let needs = self.edges.iter().filter(|edge| edge.to == at).filter_map(|edge| {
                let from = self.nodes.get(edge.from)?;
                // A resource and its properties stay on one line.
                Some(format!("{} ({})", from.resource, edge.properties.join(", ")).replace(' ', "\u{a0}"))
            });
            let needs: Vec<String> = needs.collect();
            let lines =
                if needs.is_empty() { Vec::new() } else { wrap(&format!("depends on {}", needs.join(", ")), room) };
            for (nth, line) in lines.iter().enumerate() {
                let line = line.replace('\u{a0}', " ");
                let _ = match nth == 0 && is_beside {
                    true => write!(text, "{:1$}{line}", "", 2 + kinds - node.kind.chars().count()),
                    false => write!(text, "\n{:indent$}{line}", ""),
                };
            }
            text.push('\n');
        }
        if let Some(summary) = &self.summary {
            let _ = writeln!(text, "\n{summary}");
        }
        text
    }

    fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let mut text = format!(
            "digraph {} {{\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, \
             fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
            quoted(&self.title)
        );
        if let Some(summary) = &self.summary {
            let _ = writeln!(text, "  label={};", quoted(summary));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let label = quoted(&format!("{}\n{}", self.caption(node), self.kind_and_action(node)));
            let Face { word, .. } = face(node.action);
            let width = if self.is_changed(node) { 3 } else { 1 };
            let _ = writeln!(
                text,
                "  n{at} [label={label}, class={}, color=\"{}\", penwidth={width}];",
                quoted(word),
                paint(node.action).light
            );
        }
        for Edge { from, to, properties } in &self.edges {
            let _ = writeln!(text, "  n{from} -> n{to} [label={}];", quoted(&properties.join(", ")));
        }
        text.push_str("}\n");
        text
    }

    fn mermaid(&self) -> String {
        // Its labels are HTML with a special entity syntax.
        let label = |text: &str| {
            let special = |c: char| !(c.is_alphanumeric() || "-_./+~=!,() ".contains(c));
            text.chars().fold(String::new(), |mut text, c| {
                match special(c) {
                    true => drop(write!(text, "#{};", u32::from(c))),
                    false => text.push(c),
                }
                text
            })
        };
        let mut text = "flowchart LR\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let class = self.summary.as_ref().map_or_else(String::new, |_| format!(":::{}", face(node.action).word));
            let (caption, kind) = (label(&self.caption(node)), label(&self.kind_and_action(node)));
            let _ = writeln!(text, "  n{at}[\"{caption}<br/>{kind}\"]{class}");
        }
        for Edge { from, to, properties } in &self.edges {
            let _ = writeln!(text, "  n{from} -->|\"{}\"| n{to}", label(&properties.join(", ")));
        }
        if self.summary.is_some() {
            for (action, _) in self.actions() {
                let (Face { word, .. }, Paint { light, .. }) = (face(action), paint(action));
                let _ = writeln!(text, "  classDef {word} stroke:{light},stroke-width:3px");
            }
        }
        text
    }

    /// The actions and the number of their resources.
    fn actions(&self) -> Vec<(Action, usize)> {
        let n_of = |action: Action| self.nodes.iter().filter(|node| node.action == action).count();
        ACTIONS.into_iter().map(|action| (action, n_of(action))).filter(|(_, n)| *n > 0).collect()
    }

    /// Whether the plan changes it.
    fn is_changed(&self, node: &Node) -> bool {
        self.summary.is_some() && !matches!(node.action, Action::None | Action::Import)
    }

    /// The label of a node, with the symbol of its action.
    fn caption(&self, node: &Node) -> String {
        match face(node.action).symbol.trim() {
            symbol if self.summary.is_some() && !symbol.is_empty() => format!("{symbol} {}", node.resource),
            _ => node.resource.clone(),
        }
    }

    /// The kind and the action, for formats without a legend.
    fn kind_and_action(&self, node: &Node) -> String {
        let Face { word, .. } = face(node.action);
        if self.is_changed(node) { format!("{} ({word})", node.kind) } else { node.kind.to_string() }
    }

    /// The SVG; a standalone one includes its style.
    fn svg(&self, is_alone: bool) -> Markup {
        let (turned, Layout { places, lines, along, across }) = self.placed();
        let legend = if self.summary.is_some() { self.actions() } else { Vec::new() };
        let sentences = legend.iter().map(|(action, n)| (*action, format!("{} ({n})", face(*action).told)));
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
                    @for (node, place) in self.nodes.iter().zip(&places) { (self.node(node, *place, turned)) }
                }
                @for (nth, (action, text)) in sentences.iter().enumerate() {
                    g class={ "key " (face(*action).word) }
                        transform={ "translate(" (MARGIN) " " (legend_top + LEGEND_LINE * count(nth)) ")" } {
                        rect class="box" width="34" height="18" rx="4" {}
                        text class="name" x="17" y="14" text-anchor="middle" { (face(*action).symbol.trim()) }
                        text class="detail" x=(LEGEND_LEAD) y="13" { (text) }
                    }
                }
            }
        }
    }

    fn node(&self, node: &Node, place: Place, turned: Turned) -> Markup {
        let Node { kind, name, action, .. } = node;
        let word = face(*action).word;
        let told = if self.summary.is_some() { face(*action).told } else { "" };
        let (x, y) = turned.point(place.along, place.across);
        let (width, height) = turned.point(place.extent_along, place.extent_across);
        let middle = (height / 2.0).round();
        html! {
            g class={ "node " (word) } transform={ "translate(" (x) " " (y) ")" } {
                title { (node.resource) " (" (kind) " " (name) ") " (told) }
                rect class="box" width=(width) height=(height) rx="8" {}
                rect class={ "kind " (kind) } width="6" height=(height) rx="3" {}
                text class="name" x="18" y=(middle - 4.0) { (self.caption(node)) }
                text class="detail" x="18" y=(middle + 14.0) { (detail(node)) }
            }
        }
    }

    fn page(&self) -> Markup {
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
    fn placed(&self) -> (Turned, Layout) {
        let right = self.placed_along(Turned::Right);
        if right.along <= WIDEST || right.along <= 2.0 * right.across {
            return (Turned::Right, right);
        }
        (Turned::Down, self.placed_along(Turned::Down))
    }

    fn placed_along(&self, turned: Turned) -> Layout {
        let extent = |width: f64, height: f64| {
            let (along, across) = turned.point(width, height);
            Extent { along, across }
        };
        let boxes: Vec<Extent> = self.nodes.iter().map(|node| extent(self.width_of(node), HEIGHT)).collect();
        let links = self.edges.iter().map(|Edge { from, to, properties }| {
            let words = extent(width(&properties.join(", "), LABEL_LETTER) + LABEL_PAD, LABEL_HEIGHT);
            Link { from: *from, to: *to, words }
        });
        layout(&boxes, &links.collect::<Vec<Link>>())
    }

    fn width_of(&self, node: &Node) -> f64 {
        let widest = room(&self.caption(node), BOLD).max(room(&detail(node), REGULAR));
        (widest + 32.0).max(120.0).round()
    }
}

/// A line between two boxes, labeled with its properties next to its last straight part.
fn line(edge: &Edge, runs: &[Run], turned: Turned) -> Markup {
    let mut path = String::new();
    let mut before = None::<Run>;
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

/// The width of a text, estimated for the widest common font; `letter` is the width of an average letter.
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
/// The minimum number of columns for dependencies on the same line.
const LEAST_ROOM: usize = 30;

fn node(declared: &Declared, action: Action) -> Node {
    let action = if declared.imported { Action::Import } else { action };
    let usual = format!("{}-{}", declared.id.owner.team, declared.name);
    let name = if declared.id.name == usual { String::new() } else { declared.id.name.clone() };
    Node { resource: declared.name.clone(), kind: declared.schema().kind.clone(), name, action }
}

fn detail(Node { kind, name, .. }: &Node) -> String {
    // A mapping's name is an ID that AWS assigns.
    if name.is_empty() || *kind == "mapping" { kind.to_string() } else { format!("{kind} {name}") }
}

/// An action's color for light and dark mode.
struct Paint {
    light: &'static str,
    dark: &'static str,
}

fn paint(action: Action) -> Paint {
    let (light, dark) = match action {
        Action::Create => ("#1a7f37", "#3fb950"),
        Action::Update | Action::Release => ("#9a6700", "#d29922"),
        Action::Replace | Action::Delete | Action::Refused => ("#cf222e", "#f85149"),
        Action::Adopt | Action::Import => ("#0969da", "#58a6ff"),
        Action::None => ("#8c959f", "#6e7681"),
    };
    Paint { light, dark }
}

/// The style for light and dark mode.
fn css() -> String {
    let colours = |colour: fn(Paint) -> &'static str| {
        ACTIONS.into_iter().fold(String::new(), |mut css, action| {
            let (Face { word, .. }, colour) = (face(action), colour(paint(action)));
            let _ = write!(css, ".{word} .box{{stroke:{colour}}}");
            if !matches!(action, Action::None | Action::Import) {
                let _ = write!(css, ".{word} .box{{stroke-width:2.5;fill:{colour};fill-opacity:.12}}");
            }
            css
        })
    };
    let (light, dark) = (colours(|it| it.light), colours(|it| it.dark));
    format!("{BASE}{light}@media(prefers-color-scheme:dark){{{DARK}{dark}}}")
}

const BASE: &str = "\
.ground{fill:#fff}.box{fill:#fff;stroke-width:1.5}.name{font-size:14px;font-weight:600;fill:#1f2328}\
.detail{font-size:12px;fill:#59636e}.line{fill:none;stroke:#8c959f;stroke-width:1.5}.head{fill:#8c959f}\
.label{font:11px ui-monospace,monospace;fill:#59636e}.plan .none .name{font-weight:400}\
.kind{fill:#8c959f}.kind.table{fill:#3b6fd4}.kind.function{fill:#d9730d}.kind.mapping{fill:#8250df}\
.kind.permission{fill:#bf3989}.kind.role{fill:#57606a}.import .box{stroke-dasharray:5 4}";
const DARK: &str = "\
.ground{fill:#0d1117}.box{fill:#161b22}.name{fill:#e6edf3}.detail,.label{fill:#9198a1}.line{stroke:#6e7681}\
.head{fill:#6e7681}";
const PAGE: &str = ".picture{overflow:auto}";
