//! The lines at the bottom of a terminal that are redrawn, below lines that stay.
//!
//! Each is cut to the window's width, and there are at most as many as fit, so none wraps and the
//! position of the first is known. If the window becomes narrower, the terminal wraps the lines
//! drawn before; their number is known too.
//!
//! **Invariant:** it knows lines and terminals, not what the lines mean.

use std::fmt::Write as _;
use std::io::Write;

use anstyle::Style;
use textwrap::core::display_width;

use crate::sanitize::is_steering;

use super::super::{DIM, OutputStyle};

/// The assumed size of a terminal that reports none.
const DEFAULT_SIZE: (usize, usize) = (80, 24);
/// Columns for the time.
const TIME: usize = 6;
const CUT: &str = "...";
/// The rank of running steps.
pub(super) const RUNNING: u8 = 1;

/// The redrawn lines at the bottom of a terminal.
pub(super) struct Region {
    size: Box<dyn Fn() -> Option<(usize, usize)>>,
    /// The width of each line on the screen, and what was drawn last for which size.
    widths: Vec<usize>,
    last: (String, (usize, usize)),
}

/// A line.
#[derive(Clone)]
pub(super) struct RegionRow {
    /// Without room for all, rows with a higher number are left out first.
    pub(super) rank: u8,
    pub(super) time: String,
    /// Its texts, from long to short: the first one that fits is shown.
    pub(super) variants: Vec<Parts>,
}

pub(super) type Parts = Vec<(Style, String)>;

impl Region {
    pub(super) fn new(size: Box<dyn Fn() -> Option<(usize, usize)>>) -> Region {
        Region { size, widths: Vec::new(), last: Default::default() }
    }

    /// Writes lines that stay, and `rows` below them.
    pub(super) fn draw(&mut self, out: &mut dyn Write, above: &[&str], rows: &[RegionRow], output_style: OutputStyle) {
        let size @ (width, height) = (self.size)().unwrap_or(DEFAULT_SIZE);
        // The last column stays free: some terminals wrap a full line. One line is for the cursor,
        // and one keeps earlier output visible.
        let (width, room) = (width.saturating_sub(1).max(1), height.saturating_sub(2).max(1));
        let (mut text, mut widths) = (String::new(), Vec::new());
        let rows = fitting(rows, room);
        // Running steps use texts of the same length level.
        let shortest = rows.iter().filter(|row| row.rank == RUNNING).map(|row| first_fitting(row, width)).max();
        for row in rows {
            let from = if row.rank == RUNNING { shortest.unwrap_or_default() } else { first_fitting(&row, width) };
            let (line, width) = cut(&row, from, width, output_style);
            // Writing to a string never fails.
            let _ = writeln!(text, "{line}\x1b[K");
            widths.push(width);
        }
        if above.is_empty() && self.last.1 == size && self.last.0 == text {
            return;
        }
        let up: usize = self.widths.iter().map(|drawn| drawn.div_ceil(width + 1).max(1)).sum();
        let mut frame = "\r".to_owned();
        if up > 0 {
            let _ = write!(frame, "\x1b[{up}A");
        }
        if !above.is_empty() || self.last.1 != size {
            frame.push_str("\x1b[J");
        }
        for line in above {
            let _ = writeln!(frame, "{}", output_style.clean(line));
        }
        frame.push_str(&text);
        frame.push_str("\x1b[J");
        // A terminal that went away is no reason to stop working.
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
        (self.widths, self.last) = (widths, (text, size));
    }
}

/// The rows that fit, in order, and the number of the others.
fn fitting(rows: &[RegionRow], room: usize) -> Vec<RegionRow> {
    if rows.len() <= room {
        return rows.to_vec();
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| rows.get(*at).map(|row| row.rank));
    let mut chosen: Vec<usize> = order.into_iter().take(room.saturating_sub(1)).collect();
    chosen.sort_unstable();
    let more = rows.len() - chosen.len();
    let mut fitting: Vec<RegionRow> = chosen.into_iter().filter_map(|at| rows.get(at)).cloned().collect();
    let variants = vec![vec![(DIM, format!("and {more} more"))]];
    fitting.push(RegionRow { rank: 0, time: String::new(), variants });
    fitting
}

/// The width of a text.
fn columns(parts: &Parts) -> usize {
    TIME + 1 + parts.iter().map(|(_, text)| display_width(text)).sum::<usize>()
}

/// The first text that fits, or the last.
fn first_fitting(row: &RegionRow, width: usize) -> usize {
    let fits = row.variants.iter().position(|parts| columns(parts) <= width);
    fits.unwrap_or(row.variants.len().saturating_sub(1))
}

/// A row as a line of at most `width` columns, with its width.
fn cut(row: &RegionRow, variant: usize, width: usize, output_style: OutputStyle) -> (String, usize) {
    let text = row.variants.get(variant).or(row.variants.last());
    let (parts, whole) = text.map_or((&[][..], 0), |parts| (parts.as_slice(), columns(parts)));
    let room = if whole > width { width.saturating_sub(CUT.len()) } else { width };
    let time = format!("{:>TIME$} ", row.time);
    let parts = std::iter::once((DIM, time.as_str())).chain(parts.iter().map(|(style, text)| (*style, text.as_str())));
    let (mut line, mut used) = (String::new(), 0);
    for (style, text) in parts {
        let mut piece = String::new();
        for c in text.chars().map(|c| if is_steering(c) || matches!(c, '\n' | '\t') { ' ' } else { c }) {
            let columns = display_width(c.encode_utf8(&mut [0; 4]));
            if used + columns > room {
                break;
            }
            piece.push(c);
            used += columns;
        }
        line.push_str(&output_style.paint(style, &piece));
    }
    if whole > width {
        let dots: String = CUT.chars().take(width).collect();
        used += dots.len();
        line.push_str(&dots);
    }
    (line, used)
}
