//! Places the boxes, lines and labels of a graph.
//!
//! Boxes are in columns, each after its dependencies. A layout library chooses the columns and the
//! order; a line that passes a column gets a place there, like a box. Between two columns, lines
//! first bend and then run straight, next to their labels. So no label touches a box, a label or
//! another line, and no line crosses a box.
//!
//! *Along* is the direction of the lines, *across* the other one.
//!
//! **Invariant:** numbers in, numbers out; it knows neither names nor styles.

use std::collections::HashMap;

use rust_sugiyama::configure::Config;
use rust_sugiyama::from_vertices_and_edges;

/// The space between two boxes of a column.
pub(super) const SPACING: f64 = 24.0;
/// The space for bends: minimum, maximum, and its share of the distance across.
const BEND: (f64, f64) = (24.0, 120.0);
const SLOPE: f64 = 0.3;
/// The space for an arrowhead.
const HEAD: f64 = 16.0;
/// The width of a line that passes a column.
const LINE_WIDTH: f64 = 2.0;
/// The minimum length of the rows for boxes without lines.
const LEAST_ROW: f64 = 900.0;

/// A box to place.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoxSize {
    pub(super) along: f64,
    /// The minimum: a box with many incoming lines grows.
    pub(super) across: f64,
}

/// A line to place.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayoutEdge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The size of its label.
    pub(super) words: BoxSize,
}

/// The place of a box.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BoxPosition {
    pub(super) along: f64,
    pub(super) across: f64,
    pub(super) extent_along: f64,
    pub(super) extent_across: f64,
}

/// A straight part of a line; a bend connects it to the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LineSegment {
    pub(super) begin: f64,
    pub(super) end: f64,
    pub(super) across: f64,
}

/// The places of everything, starting at 0.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// In the order of the boxes.
    pub(super) positions: Vec<BoxPosition>,
    /// In the order of the lines. The label is next to the last run.
    pub(super) lines: Vec<Vec<LineSegment>>,
    pub(super) along: f64,
    pub(super) across: f64,
}

/// Places everything. The graph has no cycles.
pub(super) fn layout(boxes: &[BoxSize], links: &[LayoutEdge]) -> Layout {
    let boxes = grown(boxes, links);
    let is_linked = |at: &usize| links.iter().any(|link| link.from == *at || link.to == *at);
    let (linked, single): (Vec<usize>, Vec<usize>) = (0..boxes.len()).partition(is_linked);
    let mut layout = Layout { positions: vec![BoxPosition::default(); boxes.len()], ..Layout::default() };
    if !linked.is_empty() {
        columns(&mut layout, &boxes, links, &linked);
    }
    rows(&mut layout, &boxes, &single);
    layout
}

/// The boxes, grown to have room for the labels of all incoming lines.
fn grown(boxes: &[BoxSize], links: &[LayoutEdge]) -> Vec<BoxSize> {
    let grown = boxes.iter().enumerate().map(|(at, own)| {
        let arriving = links.iter().filter(|link| link.to == at);
        let slot = arriving.clone().map(|link| link.words.across).fold(0.0, f64::max);
        BoxSize { across: own.across.max(slot * count(arriving.count() + 1)).ceil(), ..*own }
    });
    grown.collect()
}

/// Places connected boxes in columns.
fn columns(layout: &mut Layout, boxes: &[BoxSize], links: &[LayoutEdge], linked: &[usize]) {
    let grid = Grid::new(boxes, links, linked);
    let columns = grid.columns(links);
    for at in linked {
        let (Some(own), Some(position)) = (boxes.get(*at), layout.positions.get_mut(*at)) else { continue };
        let BoxSize { along, across } = *own;
        let (begin, top) = (grid.column(&columns, *at).begin, (grid.mid(*at) - across / 2.0).round());
        *position = BoxPosition { along: begin, across: top, extent_along: along, extent_across: across };
    }
    layout.along = columns.last().map_or(0.0, |last| last.end);
    let ends = grid.spots.iter().enumerate().filter_map(|(at, spot)| Some(grid.mids.get(&at)? + spot.across / 2.0));
    layout.across = ends.fold(0.0, f64::max).ceil();
    layout.lines = grid.routes.iter().map(|route| grid.runs(route, &columns, &layout.positions)).collect();
}

/// Connected boxes and their lines, before the columns have a place.
struct Grid<'g> {
    boxes: &'g [BoxSize],
    linked: &'g [usize],
    ranks: HashMap<usize, usize>,
    /// The boxes, and then the lanes of all lines.
    spots: Vec<Spot>,
    /// Each line from spot to spot; between its ends, the spots are lanes.
    routes: Vec<Vec<usize>>,
    /// The middle of each spot, across.
    mids: HashMap<usize, f64>,
}

impl<'g> Grid<'g> {
    fn new(boxes: &'g [BoxSize], links: &[LayoutEdge], linked: &'g [usize]) -> Grid<'g> {
        let ranks = ranks(links, linked);
        let rank = |at: usize| ranks.get(&at).copied().unwrap_or_default();
        let mut spots: Vec<Spot> =
            boxes.iter().enumerate().map(|(at, it)| Spot { rank: rank(at), across: it.across }).collect();
        let mut routes: Vec<Vec<usize>> = Vec::new();
        for link in links {
            let lanes = (rank(link.from) + 1..rank(link.to)).map(|rank| {
                spots.push(Spot { rank, across: LINE_WIDTH });
                spots.len() - 1
            });
            let lanes: Vec<usize> = lanes.collect();
            routes.push([vec![link.from], lanes, vec![link.to]].concat());
        }
        let mids = mids(&spots, &routes, linked, boxes.len());
        Grid { boxes, linked, ranks, spots, routes, mids }
    }

    fn mid(&self, at: usize) -> f64 {
        self.mids.get(&at).copied().unwrap_or_default()
    }

    /// The column of a spot.
    fn column(&self, columns: &[Column], at: usize) -> Column {
        let rank = self.spots.get(at).map_or(0, |spot| spot.rank);
        columns.get(rank).copied().unwrap_or_default()
    }

    /// The start and end of each column, and where the lines before it become straight.
    fn columns(&self, links: &[LayoutEdge]) -> Vec<Column> {
        let n_columns = self.ranks.values().max().map_or(0, |last| last + 1);
        let mut columns: Vec<Column> = Vec::new();
        let mut left = 0.0;
        for rank in 0..n_columns {
            let is_here = |at: &usize| self.ranks.get(at) == Some(&rank);
            let arriving = links.iter().filter(|link| is_here(&link.to));
            let words = arriving.map(|link| link.words.along).fold(0.0, f64::max);
            let widest = self.linked.iter().filter(|at| is_here(at)).filter_map(|at| self.boxes.get(*at));
            let widest = widest.map(|it| it.along).fold(0.0, f64::max);
            let (straight, begin) = match rank {
                0 => (left, left),
                _ => (left + self.bend(rank), left + self.bend(rank) + words + HEAD),
            };
            columns.push(Column { straight, begin, end: begin + widest });
            left = begin + widest;
        }
        columns
    }

    /// The space for the bends before a column.
    fn bend(&self, rank: usize) -> f64 {
        let bends = self.routes.iter().flat_map(|route| route.windows(2));
        let bends = bends.filter_map(|it| Some((*it.first()?, *it.last()?)));
        let bends = bends.filter(|(_, to)| self.spots.get(*to).is_some_and(|spot| spot.rank == rank));
        let furthest = bends.map(|(from, to)| (self.mid(from) - self.mid(to)).abs()).fold(0.0, f64::max);
        (BEND.0 + furthest * SLOPE).round().min(BEND.1)
    }

    /// The straight parts of a line.
    fn runs(&self, route: &[usize], columns: &[Column], positions: &[BoxPosition]) -> Vec<LineSegment> {
        let runs = route.iter().enumerate().map(|(nth, at)| {
            let own = positions.get(*at).copied().unwrap_or_default();
            let Column { straight, end, .. } = self.column(columns, *at);
            if nth == 0 {
                LineSegment { begin: own.along + own.extent_along, end, across: self.mid(*at) }
            } else if nth + 1 < route.len() {
                LineSegment { begin: straight, end, across: self.mid(*at) }
            } else {
                let across = (own.across + own.extent_across * self.share(route, *at)).round();
                LineSegment { begin: straight, end: own.along, across }
            }
        });
        runs.collect()
    }

    /// Where a line ends on its box, from 0 to 1: incoming lines end at separate points, in the
    /// order of their origins.
    fn share(&self, route: &[usize], to: usize) -> f64 {
        let origin = |route: &[usize]| route.iter().rev().nth(1).map(|before| self.mid(*before));
        let mut arriving: Vec<&Vec<usize>> = self.routes.iter().filter(|it| it.last() == Some(&to)).collect();
        arriving.sort_by(|one, other| origin(one).partial_cmp(&origin(other)).unwrap_or(std::cmp::Ordering::Equal));
        let position = arriving.iter().position(|it| it.as_slice() == route).unwrap_or_default();
        count(position + 1) / count(arriving.len() + 1)
    }
}

/// A box or a lane.
struct Spot {
    rank: usize,
    across: f64,
}

#[derive(Clone, Copy, Default)]
struct Column {
    straight: f64,
    begin: f64,
    end: f64,
}

/// The column of each box.
fn ranks(links: &[LayoutEdge], linked: &[usize]) -> HashMap<usize, usize> {
    let boxes: Vec<(usize, f64)> = linked.iter().map(|at| (*at, 1.0)).collect();
    let steps: Vec<(usize, usize)> = links.iter().map(|link| (link.from, link.to)).collect();
    let groups = coordinates(&boxes, &steps);
    let ranks = groups.iter().flat_map(|group| {
        let mut depths: Vec<f64> = group.iter().map(|(_, (_, down))| *down).collect();
        depths.sort_by(f64::total_cmp);
        depths.dedup();
        group.iter().map(move |(at, (_, down))| (*at, depths.iter().position(|it| it == down).unwrap_or_default()))
    });
    ranks.collect()
}

/// The library's places for spots with their size across, by number, in connected groups, the
/// largest first. The library draws from top to bottom.
fn coordinates(spots: &[(usize, f64)], steps: &[(usize, usize)]) -> Vec<Vec<(usize, (f64, f64))>> {
    // It only accepts numbers without gaps.
    let id = |at: usize| spots.iter().position(|(it, _)| *it == at).and_then(|id| u32::try_from(id).ok());
    let vertices: Vec<(u32, (f64, f64))> =
        spots.iter().filter_map(|(at, across)| Some((id(*at)?, (*across, 1.0)))).collect();
    let edges: Vec<(u32, u32)> = steps.iter().filter_map(|(from, to)| Some((id(*from)?, id(*to)?))).collect();
    let config = Config { vertex_spacing: SPACING, ..Config::default() };
    let groups = from_vertices_and_edges(&vertices, &edges, &config).into_iter().map(|(group, ..)| {
        let mut group: Vec<(usize, (f64, f64))> =
            group.into_iter().filter_map(|(id, position)| Some((spots.get(id)?.0, position))).collect();
        group.sort_by_key(|(at, _)| *at);
        group
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group.first().map(|(at, _)| *at)));
    groups
}

/// The middle of each spot, across, by connected group.
fn mids(spots: &[Spot], routes: &[Vec<usize>], linked: &[usize], n_boxes: usize) -> HashMap<usize, f64> {
    let numbers = linked.iter().copied().chain(n_boxes..spots.len());
    let sized: Vec<(usize, f64)> = numbers.filter_map(|at| Some((at, spots.get(at)?.across))).collect();
    let steps = routes.iter().flat_map(|route| route.windows(2)).filter_map(|it| Some((*it.first()?, *it.last()?)));
    let groups = coordinates(&sized, &steps.collect::<Vec<(usize, usize)>>());
    let mut mids = HashMap::new();
    let mut bottom = 0.0;
    for group in groups {
        let mut members: Vec<(usize, f64)> = group.into_iter().map(|(at, (across, _))| (at, across)).collect();
        let flip = orientation(&members);
        members.iter_mut().for_each(|(_, across)| *across *= flip);
        // The library doesn't always keep the configured spacing.
        members.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let half = |at: usize| spots.get(at).map_or(0.0, |spot| spot.across / 2.0);
        let top = members.iter().map(|(at, across)| across - half(*at)).fold(f64::INFINITY, f64::min);
        let mut filled: HashMap<usize, f64> = HashMap::new();
        let mut lowest: f64 = bottom;
        for (at, across) in members {
            let Some(spot) = spots.get(at) else { continue };
            let free = filled.get(&spot.rank).map_or(bottom, |filled| filled + SPACING);
            let mid = (bottom + across - top).max(free + half(at));
            filled.insert(spot.rank, mid + half(at));
            lowest = lowest.max(mid + half(at));
            mids.insert(at, mid.round());
        }
        bottom = (lowest + SPACING).ceil();
    }
    mids
}

/// The orientation in which earlier resources of the file are on top: 1, or -1 to flip the group.
fn orientation(members: &[(usize, f64)]) -> f64 {
    let n = count(members.len());
    let mean_at = members.iter().map(|(at, _)| count(*at)).sum::<f64>() / n;
    let mean_across = members.iter().map(|(_, across)| across).sum::<f64>() / n;
    let agreement = members.iter().map(|(at, across)| (count(*at) - mean_at) * (across - mean_across)).sum::<f64>();
    if agreement < 0.0 { -1.0 } else { 1.0 }
}

/// Places boxes without lines in rows below.
fn rows(layout: &mut Layout, boxes: &[BoxSize], single: &[usize]) {
    let cell = |extent: fn(&BoxSize) -> f64| {
        single.iter().filter_map(|at| boxes.get(*at)).map(extent).fold(0.0, f64::max) + SPACING
    };
    let (along, across) = (cell(|it| it.along), cell(|it| it.across));
    let room = layout.along.max(LEAST_ROW);
    let top = if layout.across > 0.0 { layout.across + SPACING } else { 0.0 };
    let (mut left, mut row) = (0.0, top);
    for at in single {
        let (Some(own), Some(position)) = (boxes.get(*at), layout.positions.get_mut(*at)) else { continue };
        if left > 0.0 && left + own.along > room {
            (left, row) = (0.0, row + across);
        }
        *position = BoxPosition { along: left, across: row, extent_along: own.along, extent_across: own.across };
        layout.along = layout.along.max(left + own.along);
        layout.across = layout.across.max(row + own.across);
        left += along;
    }
}

pub(super) fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
