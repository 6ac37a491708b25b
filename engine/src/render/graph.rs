//! Draws the dependency graph of a spec or a plan.
//!
//! Text, DOT, Mermaid, SVG and HTML draw the same nodes and edges; `svg` draws the last two.
//!
//! **Invariant:** the same graph always gives the same output, which contains no value of a spec.

mod layout;
mod svg;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::diagnostic::wrap;
use crate::inventory::Inventory;
use crate::plan::{Action, Change, Plan, Subject};
use crate::schema::Str;
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Placeholder};

use super::OutputStyle;
use super::plan::{ACTIONS, ActionStyle, action_style, summary};

/// Resources and their dependencies.
#[derive(Debug, Clone)]
pub struct GraphView {
    title: String,
    nodes: Vec<GraphNode>,
    edges: Vec<Edge>,
    /// The plan's summary line; `None` for a spec.
    summary: Option<String>,
}

#[derive(Debug, Clone)]
struct GraphNode {
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
    /// An image.
    Svg,
    /// A page with the picture.
    Html,
}

impl GraphView {
    /// The graph of a spec.
    pub fn of_spec(spec: &Spec) -> GraphView {
        let nodes: Vec<GraphNode> = spec.resources.iter().map(|declared| node(declared, Action::None)).collect();
        let at: HashMap<&str, usize> =
            spec.resources.iter().enumerate().map(|(at, declared)| (declared.name.as_str(), at)).collect();
        let mut edges = Vec::new();
        for (to, declared) in spec.resources.iter().enumerate() {
            let mut by_target: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (name, value) in &declared.desired {
                value.visit_templates(&Path::property(name), &mut |_, template| {
                    for placeholder in template.placeholders() {
                        let Placeholder::Output { resource, .. } = placeholder else { continue };
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
        GraphView { title: format!("{}/{}", spec.team, spec.stack), nodes, edges, summary: None }
    }

    /// The graph of a plan, including orphans.
    pub fn of_plan(spec: &Spec, inventory: &Inventory, plan: &Plan) -> GraphView {
        let plain = OutputStyle { color: false, width: usize::MAX, plain: false };
        let mut picture = GraphView { summary: Some(summary(plan, false, plain)), ..GraphView::of_spec(spec) };
        // By kind and name in AWS, which orphans refer to.
        let mut in_aws: HashMap<(&str, &str), usize> = HashMap::new();
        let mut orphans: Vec<(usize, &Change)> = Vec::new();
        for change in &plan.changes {
            let at = match change.subject {
                Subject::Declared => picture.nodes.iter().position(|node| node.resource == change.resource),
                Subject::Orphan(_) => change.declared(spec, inventory).map(|declared| {
                    picture.nodes.push(node(declared, change.action));
                    orphans.push((picture.nodes.len() - 1, change));
                    picture.nodes.len() - 1
                }),
            };
            let Some(at) = at else { continue };
            in_aws.insert((&change.kind, &change.name), at);
            if let Some(node) = picture.nodes.get_mut(at) {
                node.action = change.action;
            }
        }
        for (to, change) in orphans {
            let mut by_target: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (property, kind, name) in change.attachments(spec, inventory) {
                if let Some(from) = in_aws.get(&(kind, name.as_str())) {
                    by_target.entry(*from).or_default().push(property.to_owned());
                }
            }
            picture.edges.extend(by_target.into_iter().map(|(from, properties)| Edge { from, to, properties }));
        }
        picture
    }

    /// Draws it.
    pub fn draw(&self, drawing: Drawing, out: OutputStyle) -> String {
        match drawing {
            Drawing::Text => self.text(out),
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

    fn text(&self, out: OutputStyle) -> String {
        let longest = |text: fn(&GraphNode) -> &str| {
            self.nodes.iter().map(|node| text(node).chars().count()).max().unwrap_or_default()
        };
        let (names, kinds) = (longest(|node| &node.resource), longest(|node| &node.kind));
        let signs = match (&self.summary, out.plain) {
            (None, _) => 0,
            (Some(_), false) => 4,
            (Some(_), true) => longest(|node| action_style(node.action).word) + 1,
        };
        let lead = signs + names + 2 + kinds + 2;
        let room = if out.plain { usize::MAX } else { out.width.saturating_sub(lead) };
        let is_beside = room >= LEAST_ROOM;
        let (indent, room) = if is_beside { (lead, room) } else { (6, out.width.saturating_sub(6)) };
        let mut text = String::new();
        for at in self.order() {
            let Some(node) = self.nodes.get(at) else { continue };
            let ActionStyle { symbol, word, style, .. } = action_style(node.action);
            let sign = match (&self.summary, out.plain) {
                (None, _) => String::new(),
                (Some(_), true) => format!("{word:signs$}"),
                // Padded by hand: color codes have no width.
                (Some(_), false) => {
                    format!("{:1$}{2} ", "", 3_usize.saturating_sub(symbol.len()), out.paint(style, symbol))
                }
            };
            let name = if self.is_changed(node) { out.paint(style, &node.resource) } else { node.resource.clone() };
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
            let ActionStyle { word, .. } = action_style(node.action);
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
            let class =
                self.summary.as_ref().map_or_else(String::new, |_| format!(":::{}", action_style(node.action).word));
            let (caption, kind) = (label(&self.caption(node)), label(&self.kind_and_action(node)));
            let _ = writeln!(text, "  n{at}[\"{caption}<br/>{kind}\"]{class}");
        }
        for Edge { from, to, properties } in &self.edges {
            let _ = writeln!(text, "  n{from} -->|\"{}\"| n{to}", label(&properties.join(", ")));
        }
        if self.summary.is_some() {
            for (action, _) in self.actions() {
                let (ActionStyle { word, .. }, Paint { light, .. }) = (action_style(action), paint(action));
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
    fn is_changed(&self, node: &GraphNode) -> bool {
        self.summary.is_some() && !matches!(node.action, Action::None | Action::Import)
    }

    /// The label of a node, with the symbol of its action.
    fn caption(&self, node: &GraphNode) -> String {
        match action_style(node.action).symbol.trim() {
            symbol if self.summary.is_some() && !symbol.is_empty() => format!("{symbol} {}", node.resource),
            _ => node.resource.clone(),
        }
    }

    /// The kind and the action, for formats without a legend.
    fn kind_and_action(&self, node: &GraphNode) -> String {
        let ActionStyle { word, .. } = action_style(node.action);
        if self.is_changed(node) { format!("{} ({word})", node.kind) } else { node.kind.to_string() }
    }
}

/// The minimum number of columns for dependencies on the same line.
const LEAST_ROOM: usize = 30;

fn node(declared: &ResourceDecl, action: Action) -> GraphNode {
    let action = if declared.imported { Action::Import } else { action };
    let default = format!("{}-{}", declared.id.owner.team, declared.name);
    let name = if declared.id.name == default { String::new() } else { declared.id.name.clone() };
    GraphNode { resource: declared.name.clone(), kind: declared.schema().kind.clone(), name, action }
}

/// An action's color for light and dark mode.
struct Paint {
    light: &'static str,
    dark: &'static str,
}

fn paint(action: Action) -> Paint {
    let (light, dark) = match action {
        Action::Create => ("#1a7f37", "#3fb950"),
        Action::Update | Action::Forget => ("#9a6700", "#d29922"),
        Action::Replace | Action::Delete | Action::Refused => ("#cf222e", "#f85149"),
        Action::Adopt | Action::Import => ("#0969da", "#58a6ff"),
        Action::None => ("#8c959f", "#6e7681"),
    };
    Paint { light, dark }
}
