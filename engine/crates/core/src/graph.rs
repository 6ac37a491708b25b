//! The dependency graph: dependencies of resources, their order, and cycles.
//!
//! **Invariant:** it is the only user of petgraph, and knows only the names of resources.

use std::collections::{BTreeMap, HashSet};

use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::schema::Milestone;

/// Resources and their dependencies. Edges lead from a dependency to its dependents, in execution
/// order.
#[derive(Debug, Clone)]
pub struct Graph {
    graph: DiGraph<String, Milestone>,
    nodes: BTreeMap<String, NodeIndex>,
    order: Vec<String>,
}

/// A dependency cycle, in order; the last resource depends on the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<String>);

impl Graph {
    /// Builds the graph. `edges` are (dependent, dependency, moment to wait for); unknown names are
    /// ignored.
    ///
    /// # Errors
    /// The first cycle.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        edges: impl IntoIterator<Item = (&'a str, &'a str, Milestone)>,
    ) -> Result<Graph, Cycle> {
        let mut graph = DiGraph::new();
        let nodes: BTreeMap<String, NodeIndex> =
            names.into_iter().map(|name| (name.to_owned(), graph.add_node(name.to_owned()))).collect();
        let mut milestones: BTreeMap<(NodeIndex, NodeIndex), Milestone> = BTreeMap::new();
        for (dependent, dependency, milestone) in edges {
            let (Some(&from), Some(&to)) = (nodes.get(dependency), nodes.get(dependent)) else { continue };
            // With several references between two resources, the latest moment applies.
            let latest = milestones.entry((from, to)).or_insert(milestone);
            *latest = milestone.max(*latest);
        }
        for ((from, to), milestone) in milestones {
            graph.add_edge(from, to, milestone);
        }
        let order = match toposort(&graph, None) {
            Ok(order) => order.into_iter().map(|node| graph[node].clone()).collect(),
            Err(_) => return Err(cycle(&graph)),
        };
        Ok(Graph { graph, nodes, order })
    }

    /// All resources, each after its dependencies.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// The dependencies of `name`, with the moment to wait for.
    pub fn dependencies(&self, name: &str) -> impl Iterator<Item = (&str, Milestone)> {
        self.neighbours(name, Direction::Incoming)
    }

    /// The dependents of `name`, with the moment that they wait for.
    pub fn dependents(&self, name: &str) -> impl Iterator<Item = (&str, Milestone)> {
        self.neighbours(name, Direction::Outgoing)
    }

    fn neighbours(&self, name: &str, direction: Direction) -> impl Iterator<Item = (&str, Milestone)> {
        let node = self.nodes.get(name).copied();
        let edges = node.into_iter().flat_map(move |node| self.graph.edges_directed(node, direction));
        edges.map(move |edge| {
            let other = if direction == Direction::Incoming { edge.source() } else { edge.target() };
            (self.graph[other].as_str(), *edge.weight())
        })
    }
}

/// Finds one cycle, starting with its first declared resource.
fn cycle(graph: &DiGraph<String, Milestone>) -> Cycle {
    let in_circle = |group: &Vec<NodeIndex>| match group.as_slice() {
        [single] => graph.find_edge(*single, *single).is_some(),
        _ => true,
    };
    // petgraph's version of Tarjan's algorithm is recursive, and a cycle can be very long.
    let group = kosaraju_scc(graph).into_iter().filter(in_circle).min_by_key(|group| group.iter().min().copied());
    let Some(group) = group else { return Cycle(Vec::new()) };
    // Each walk in a strongly connected group eventually returns to a visited node.
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
        Graph::new(names.iter().copied(), edges.iter().map(|&(from, to)| (from, to, Milestone::Created)))
    }

    #[test]
    fn a_cycle_is_in_dependency_order() {
        let cycle = graph(&["d", "a", "b", "c"], &[("d", "a"), ("a", "b"), ("b", "c"), ("c", "a")]);
        assert_eq!(cycle.err(), Some(Cycle(vec!["a".into(), "b".into(), "c".into()])));
    }

    #[test]
    fn the_later_of_two_milestones_counts() {
        let edges = [("b", "a", Milestone::Created), ("b", "a", Milestone::Ready), ("b", "a", Milestone::Created)];
        let graph = Graph::new(["a", "b"], edges).expect("no cycle");
        assert_eq!(graph.dependencies("b").collect::<Vec<_>>(), [("a", Milestone::Ready)]);
    }
}
