//! The dependency graph: who needs whom, in which order, and which circle keeps it from having one.
//!
//! **Invariant:** the only user of petgraph, and names are all it knows of resources.

use std::collections::{BTreeMap, HashSet};

use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::schema::Moment;

/// Resources and what they need. An edge leads from what is needed to who needs it, so that the order of work follows
/// the edges.
#[derive(Debug, Clone)]
pub struct Graph {
    graph: DiGraph<String, Moment>,
    nodes: BTreeMap<String, NodeIndex>,
    order: Vec<String>,
}

/// Resources that need each other, in order; the first one is needed by the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<String>);

impl Graph {
    /// Builds the graph. `edges` are (who needs, what is needed, which moment of it); unknown names are left out.
    ///
    /// # Errors
    /// The first cycle.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        edges: impl IntoIterator<Item = (&'a str, &'a str, Moment)>,
    ) -> Result<Graph, Cycle> {
        let mut graph = DiGraph::new();
        let nodes: BTreeMap<String, NodeIndex> =
            names.into_iter().map(|name| (name.to_owned(), graph.add_node(name.to_owned()))).collect();
        let mut moments: BTreeMap<(NodeIndex, NodeIndex), Moment> = BTreeMap::new();
        for (dependent, dependency, moment) in edges {
            let (Some(&from), Some(&to)) = (nodes.get(dependency), nodes.get(dependent)) else { continue };
            // Several references between the same two: the latest moment counts.
            let latest = moments.entry((from, to)).or_insert(moment);
            *latest = moment.max(*latest);
        }
        for ((from, to), moment) in moments {
            graph.add_edge(from, to, moment);
        }
        let order = match toposort(&graph, None) {
            Ok(order) => order.into_iter().map(|node| graph[node].clone()).collect(),
            Err(_) => return Err(cycle(&graph)),
        };
        Ok(Graph { graph, nodes, order })
    }

    /// All resources, each after what it needs.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// What `name` needs, and which moment of it.
    pub fn dependencies(&self, name: &str) -> impl Iterator<Item = (&str, Moment)> {
        self.neighbours(name, Direction::Incoming)
    }

    /// Who needs `name`, and which moment of it.
    pub fn dependents(&self, name: &str) -> impl Iterator<Item = (&str, Moment)> {
        self.neighbours(name, Direction::Outgoing)
    }

    fn neighbours(&self, name: &str, direction: Direction) -> impl Iterator<Item = (&str, Moment)> {
        let node = self.nodes.get(name).copied();
        let edges = node.into_iter().flat_map(move |node| self.graph.edges_directed(node, direction));
        edges.map(move |edge| {
            let other = if direction == Direction::Incoming { edge.source() } else { edge.target() };
            (self.graph[other].as_str(), *edge.weight())
        })
    }
}

/// Names one circle, beginning with its first resource in the order of declaration.
fn cycle(graph: &DiGraph<String, Moment>) -> Cycle {
    let in_circle = |group: &Vec<NodeIndex>| match group.as_slice() {
        [single] => graph.find_edge(*single, *single).is_some(),
        _ => true,
    };
    // Not Tarjan's algorithm, which in this library calls itself: a circle may be as long as a file has room for.
    let group = kosaraju_scc(graph).into_iter().filter(in_circle).min_by_key(|group| group.iter().min().copied());
    let Some(group) = group else { return Cycle(Vec::new()) };
    // Inside a strongly connected group every walk can go on for ever, so it meets itself sooner or later.
    let mut path: Vec<NodeIndex> = group.iter().min().copied().into_iter().collect();
    let group: HashSet<NodeIndex> = group.into_iter().collect();
    let mut seen: HashSet<NodeIndex> = path.iter().copied().collect();
    while let Some(&last) = path.last() {
        let needed = graph.neighbors_directed(last, Direction::Incoming).filter(|node| group.contains(node)).min();
        let Some(next) = needed else { break };
        if !seen.insert(next) {
            let start = path.iter().position(|&on_path| on_path == next).unwrap_or_default();
            path.drain(..start);
            break;
        }
        path.push(next);
    }
    Cycle(path.into_iter().map(|node| graph[node].clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(names: &[&'static str], edges: &[(&'static str, &'static str)]) -> Result<Graph, Cycle> {
        Graph::new(names.iter().copied(), edges.iter().map(|&(from, to)| (from, to, Moment::Made)))
    }

    #[test]
    fn a_cycle_is_named_in_the_order_of_need() {
        let cycle = graph(&["d", "a", "b", "c"], &[("d", "a"), ("a", "b"), ("b", "c"), ("c", "a")]);
        assert_eq!(cycle.err(), Some(Cycle(vec!["a".into(), "b".into(), "c".into()])));
    }

    #[test]
    fn the_later_of_two_moments_counts() {
        let edges = [("b", "a", Moment::Made), ("b", "a", Moment::Ready), ("b", "a", Moment::Made)];
        let graph = Graph::new(["a", "b"], edges).expect("no cycle");
        assert_eq!(graph.dependencies("b").collect::<Vec<_>>(), [("a", Moment::Ready)]);
    }
}
