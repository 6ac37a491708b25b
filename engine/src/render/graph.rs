//! The dependency graph as a picture: of a spec alone, or with what a plan does to it.
//!
//! The layers and their order come from a layout library; text, DOT, Mermaid, SVG and HTML are five ways to draw the same
//! nodes and edges. **Invariant:** the same picture is drawn in the same way each time, and no value of a spec is in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use maud::{Markup, PreEscaped, html};
use rust_sugiyama::configure::Config;
use rust_sugiyama::from_vertices_and_edges;

use crate::inventory::Inventory;
use crate::plan::{Action, Plan, Subject};
use crate::spec::{Declared, Spec};
use crate::value::{Hole, Path};

use super::page::page;
use super::{Face, Look, face};

/// Resources and what leads from one to another.
#[derive(Debug, Clone)]
pub struct Picture {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Whether it says what happens.
    is_plan: bool,
}

#[derive(Debug, Clone)]
struct Node {
    resource: String,
    kind: &'static str,
    /// In AWS; empty where it says no more than the resource.
    name: String,
    action: Action,
}

/// From what is needed to who needs it.
#[derive(Debug, Clone)]
struct Edge {
    from: usize,
    to: usize,
    /// The properties that refer to it, or `depends_on`.
    properties: Vec<String>,
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawing {
    /// A table of who needs what.
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
    /// What the spec declares.
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
        Picture { title: format!("{}/{}", spec.team, spec.stack), nodes, edges, is_plan: false }
    }

    /// The same with what the plan does, and what is no longer declared.
    pub fn of_plan(spec: &Spec, inventory: &Inventory, plan: &Plan) -> Picture {
        let mut picture = Picture { is_plan: true, ..Picture::of_spec(spec) };
        for change in &plan.changes {
            match change.subject {
                Subject::Declared => {
                    let node = picture.nodes.iter_mut().find(|node| node.resource == change.resource);
                    if let Some(node) = node {
                        node.action = change.action;
                    }
                }
                Subject::Leftover(_) => {
                    let declared = change.declared(spec, inventory);
                    picture.nodes.extend(declared.map(|declared| node(declared, change.action)));
                }
            }
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

    /// Each after what it needs.
    fn order(&self) -> Vec<usize> {
        let layers = self.layers();
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|at| (layers.get(*at).copied(), *at));
        order
    }

    /// How many steps lead to each at most. There are no circles, and so no more steps than nodes.
    fn layers(&self) -> Vec<usize> {
        let mut layers = vec![0; self.nodes.len()];
        for _ in 0..self.nodes.len() {
            let mut is_settled = true;
            for Edge { from, to, .. } in &self.edges {
                let least = layers.get(*from).map_or(0, |layer: &usize| layer + 1);
                if let Some(layer) = layers.get_mut(*to).filter(|layer| **layer < least) {
                    (*layer, is_settled) = (least, false);
                }
            }
            if is_settled {
                break;
            }
        }
        layers
    }

    fn text(&self, look: Look) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(look.width).unwrap_or(u16::MAX));
        for at in self.order() {
            let Some(node) = self.nodes.get(at) else { continue };
            let needs: Vec<String> = self
                .edges
                .iter()
                .filter(|edge| edge.to == at)
                .filter_map(|edge| {
                    let from = self.nodes.get(edge.from)?;
                    Some(format!("{} ({})", from.resource, edge.properties.join(", ")))
                })
                .collect();
            let needs = if needs.is_empty() { String::new() } else { format!("needs {}", needs.join(", ")) };
            let Face { symbol, word, .. } = face(node.action);
            let symbol = if look.plain { word } else { symbol };
            let symbol = if self.is_plan { symbol } else { "" };
            table.add_row([symbol, &node.resource, node.kind, &needs]);
        }
        if !self.is_plan
            && let Some(column) = table.column_mut(0)
        {
            column.set_constraint(comfy_table::ColumnConstraint::Hidden);
        }
        table.to_string().lines().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{}", line.trim_end());
            text
        })
    }

    fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let mut text = format!(
            "digraph {} {{\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, \
             fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
            quoted(&self.title)
        );
        for (at, node) in self.nodes.iter().enumerate() {
            let Paint { light, .. } = paint(node.action);
            let label = quoted(&format!("{}\n{}", self.caption(node), node.kind));
            let _ = writeln!(text, "  n{at} [label={label}, color=\"{light}\"];");
        }
        for Edge { from, to, properties } in &self.edges {
            let _ = writeln!(text, "  n{from} -> n{to} [label={}];", quoted(&properties.join(", ")));
        }
        text.push_str("}\n");
        text
    }

    fn mermaid(&self) -> String {
        // Its labels are HTML, with entities of its own.
        let label = |text: &str| {
            let special = |c: char| !(c.is_alphanumeric() || "-_./+~=<>! ".contains(c));
            text.chars().fold(String::new(), |mut text, c| {
                match c {
                    '<' => text.push_str("#lt;"),
                    '>' => text.push_str("#gt;"),
                    c if special(c) => drop(write!(text, "#{};", u32::from(c))),
                    c => text.push(c),
                }
                text
            })
        };
        let mut text = "flowchart LR\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let class = if self.is_plan { format!(":::{}", face(node.action).word) } else { String::new() };
            let _ = writeln!(text, "  n{at}[\"{}<br/>{}\"]{class}", label(&self.caption(node)), node.kind);
        }
        for Edge { from, to, properties } in &self.edges {
            let _ = writeln!(text, "  n{from} -->|{}| n{to}", label(&properties.join(" ")));
        }
        if self.is_plan {
            let mut actions: Vec<Action> = self.nodes.iter().map(|node| node.action).collect();
            actions.sort_unstable();
            actions.dedup();
            for action in actions {
                let _ =
                    writeln!(text, "  classDef {} stroke:{},stroke-width:3px", face(action).word, paint(action).light);
            }
        }
        text
    }

    /// What a node is called, with what happens to it.
    fn caption(&self, node: &Node) -> String {
        match face(node.action).symbol.trim() {
            symbol if self.is_plan && !symbol.is_empty() => format!("{symbol} {}", node.resource),
            _ => node.resource.clone(),
        }
    }

    /// The picture; on its own it brings its colours along.
    fn svg(&self, is_alone: bool) -> Markup {
        let Placed { boxes, width, height } = self.placed();
        // Where there are many, words on the lines would hide them.
        let has_labels = self.edges.len() <= MOST_LABELS;
        let style = if is_alone { css() } else { String::new() };
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
                role="img" font-family="system-ui, sans-serif" {
                title { "The dependencies of " (self.title) }
                style { (PreEscaped(style)) }
                defs {
                    marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto" {
                        path class="head" d="M0 0L10 5L0 10z" {}
                    }
                }
                @for edge in &self.edges { (self.line(edge, &boxes, has_labels)) }
                @for (node, place) in self.nodes.iter().zip(&boxes) { (self.node(node, *place)) }
            }
        }
    }

    fn node(&self, node: &Node, Place { x, y, width }: Place) -> Markup {
        let Node { kind, name, action, .. } = node;
        let word = face(*action).word;
        let told = if self.is_plan { face(*action).told } else { "" };
        html! {
            g class={ "node " (word) } transform={ "translate(" (x) " " (y) ")" } {
                title { (node.resource) " (" (kind) " " (name) ") " (told) }
                rect class="box" width=(width) height=(HEIGHT) rx="8" {}
                rect class={ "kind " (kind) } width="6" height=(HEIGHT) rx="3" {}
                text class="name" x="18" y="22" { (self.caption(node)) }
                text class="detail" x="18" y="40" { (detail(node)) }
            }
        }
    }

    fn page(&self) -> Markup {
        let mut actions: Vec<Action> = self.nodes.iter().map(|node| node.action).collect();
        actions.sort_unstable();
        actions.dedup();
        let body = html! {
            h1 { (self.title) }
            p {
                (self.nodes.len()) " resources. An arrow leads from what is needed to who needs it; it is called after \
                 the property that refers to it."
            }
            @if self.is_plan {
                ul class="legend" {
                    @for action in actions {
                        li class={ "node " (face(action).word) } { (face(action).symbol) " " (face(action).told) }
                    }
                }
            }
            div class="picture" { (self.svg(false)) }
        };
        page("engine graph", &self.title, &(css() + PAGE), &body)
    }

    /// Where everything stands: layers from left to right.
    fn placed(&self) -> Placed {
        let sizes: Vec<f64> = self.nodes.iter().map(|node| self.width_of(node)).collect();
        // The library draws from top to bottom, so width and height change places.
        let vertices: Vec<(u32, (f64, f64))> =
            sizes.iter().zip(0..).map(|(width, at)| (at, (HEIGHT, *width + GAP))).collect();
        let id = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let edges: Vec<(u32, u32)> = self.edges.iter().map(|edge| (id(edge.from), id(edge.to))).collect();
        let config = Config { vertex_spacing: SPACING, ..Config::default() };
        let mut boxes = vec![Place { x: 0.0, y: 0.0, width: 0.0 }; self.nodes.len()];
        let mut bottom = MARGIN;
        let mut right: f64 = 0.0;
        // What hangs together stands together, the largest first.
        let mut groups = from_vertices_and_edges(&vertices, &edges, &config);
        for (group, ..) in &mut groups {
            group.sort_by_key(|(at, _)| *at);
        }
        groups.sort_by_key(|(group, ..)| (std::cmp::Reverse(group.len()), group.first().map(|(at, _)| *at)));
        // A rank of the library's is a column, as wide as its widest box.
        let ranks = groups.iter().flat_map(|(group, ..)| {
            let mut ranks: Vec<f64> = group.iter().map(|(_, (_, down))| *down).collect();
            ranks.sort_by(f64::total_cmp);
            ranks.dedup();
            group
                .iter()
                .map(move |(at, (_, down))| (*at, ranks.iter().position(|rank| rank == down).unwrap_or_default()))
        });
        let ranks: HashMap<usize, usize> = ranks.collect();
        let mut columns: BTreeMap<usize, f64> = BTreeMap::new();
        for (at, rank) in &ranks {
            let column = columns.entry(*rank).or_default();
            *column = column.max(sizes.get(*at).copied().unwrap_or_default());
        }
        let mut left = MARGIN;
        for column in columns.values_mut() {
            let width = *column;
            *column = left;
            left += width + GAP;
        }
        for (group, ..) in groups {
            let members: Vec<(usize, f64)> = group.into_iter().map(|(at, (across, _))| (at, across)).collect();
            let turn = turn(&members);
            let top = members.iter().map(|(_, across)| across * turn).fold(f64::INFINITY, f64::min);
            let mut lowest = bottom;
            for (at, across) in &members {
                let (Some(place), Some(rank), Some(width)) = (boxes.get_mut(*at), ranks.get(at), sizes.get(*at)) else {
                    continue;
                };
                let left = columns.get(rank).copied().unwrap_or(MARGIN);
                *place = Place { x: left.round(), y: (bottom + across * turn - top).round(), width: *width };
                lowest = lowest.max(place.y + HEIGHT);
                right = right.max(left + *width);
            }
            bottom = lowest + SPACING;
        }
        Placed { boxes, width: right + MARGIN, height: bottom - SPACING + MARGIN }
    }

    /// A line from box to box. It leaves its row in the gap where it meets fewest boxes on its way, and arrives at a place
    /// of its own.
    fn line(&self, edge: &Edge, boxes: &[Place], has_label: bool) -> Markup {
        let (Some(from), Some(to)) = (boxes.get(edge.from), boxes.get(edge.to)) else { return html! {} };
        let mut arriving: Vec<(&Edge, f64)> = self
            .edges
            .iter()
            .filter(|it| it.to == edge.to)
            .filter_map(|it| Some((it, boxes.get(it.from)?.y)))
            .collect();
        arriving.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let place = arriving.iter().position(|(it, _)| it.from == edge.from).unwrap_or_default();
        let (x1, y1) = (from.x + from.width, from.y + HEIGHT / 2.0);
        let (x2, y2) = (to.x, (to.y + HEIGHT * count(place + 1) / count(arriving.len() + 1)).round());
        let met = |y: f64| {
            let between = boxes.iter().filter(|it| it.x >= x1 && it.x + it.width <= x2);
            between.filter(|it| (it.y - 4.0..=it.y + HEIGHT + 4.0).contains(&y)).count()
        };
        let bend = GAP / 2.0;
        let path = if met(y1) <= met(y2) {
            let turn = (x2 - GAP).max(x1);
            format!("M{x1} {y1}H{turn}C{} {y1} {} {y2} {x2} {y2}", turn + bend, x2 - bend)
        } else {
            let turn = (x1 + GAP).min(x2);
            format!("M{x1} {y1}C{} {y1} {} {y2} {turn} {y2}H{x2}", x1 + bend, turn - bend)
        };
        let words = edge.properties.join(", ");
        html! {
            g class="edge" {
                title { (words) }
                path class="line" d=(path) marker-end="url(#arrow)" {}
                @if has_label {
                    text class="label" x=(x2 - 12.0) y=(y2 - 4.0) text-anchor="end" { (words) }
                }
            }
        }
    }

    fn width_of(&self, node: &Node) -> f64 {
        let width = |text: &str, letter: f64| count(text.chars().count()) * letter;
        (width(&self.caption(node), LETTER).max(width(&detail(node), SMALL_LETTER)) + 32.0).max(120.0).round()
    }
}

const HEIGHT: f64 = 52.0;
/// Between the columns: room for the words on the lines.
const GAP: f64 = 120.0;
const SPACING: f64 = 24.0;
const MARGIN: f64 = 16.0;
/// Letters are that wide, on the average of what names are made of, bold and small.
const LETTER: f64 = 8.6;
const SMALL_LETTER: f64 = 6.6;
const MOST_LABELS: usize = 12;

struct Placed {
    boxes: Vec<Place>,
    width: f64,
    height: f64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
}

fn node(declared: &Declared, action: Action) -> Node {
    let action = if declared.imported { Action::Import } else { action };
    let usual = format!("{}-{}", declared.id.owner.team, declared.name);
    let name = if declared.id.name == usual { String::new() } else { declared.id.name.clone() };
    Node { resource: declared.name.clone(), kind: declared.schema().kind, name, action }
}

fn detail(Node { kind, name, .. }: &Node) -> String {
    // The names that a mapping goes by are AWS's.
    if name.is_empty() || *kind == "mapping" { (*kind).to_owned() } else { format!("{kind} {name}") }
}

/// What stands first in the file stands above, where the library leaves the choice: 1, or -1 to turn it upside down.
fn turn(members: &[(usize, f64)]) -> f64 {
    let n = count(members.len());
    let mean_at = members.iter().map(|(at, _)| count(*at)).sum::<f64>() / n;
    let mean_across = members.iter().map(|(_, across)| across).sum::<f64>() / n;
    let agreement = members.iter().map(|(at, across)| (count(*at) - mean_at) * (across - mean_across)).sum::<f64>();
    if agreement < 0.0 { -1.0 } else { 1.0 }
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// An action's colour on light and on dark ground, each readable there.
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

/// The colours, for light and dark.
fn css() -> String {
    let mut css = BASE.to_owned();
    for action in super::ACTIONS {
        let Paint { light, .. } = paint(action);
        let _ = write!(css, ".{0} .box{{stroke:{light}}}li.{0}{{color:{light}}}", face(action).word);
    }
    css.push_str("@media(prefers-color-scheme:dark){");
    css.push_str(DARK);
    for action in super::ACTIONS {
        let Paint { dark, .. } = paint(action);
        let _ = write!(css, ".{0} .box{{stroke:{dark}}}li.{0}{{color:{dark}}}", face(action).word);
    }
    css.push('}');
    css
}

const BASE: &str = "\
.box{fill:#fff;stroke-width:1.5}.name{font-size:14px;font-weight:600;fill:#1f2328}.detail{font-size:12px;fill:#59636e}\
.line{fill:none;stroke:#8c959f;stroke-width:1.5}.head{fill:#8c959f}\
.label{font-size:11px;fill:#59636e;paint-order:stroke;stroke:#fff;stroke-width:4px}\
.kind{fill:#8c959f}.kind.table{fill:#3b6fd4}.kind.function{fill:#d9730d}.kind.mapping{fill:#8250df}\
.kind.permission{fill:#bf3989}.kind.role{fill:#57606a}.import .box{stroke-dasharray:5 4}";
const DARK: &str = "\
.box{fill:#161b22}.name{fill:#e6edf3}.detail,.label{fill:#9198a1}.line{stroke:#6e7681}.head{fill:#6e7681}\
.label{stroke:#0d1117}";
const PAGE: &str = "\
.picture{overflow:auto}.legend{display:flex;flex-wrap:wrap;gap:16px;padding:0;list-style:none;font-weight:600}";
