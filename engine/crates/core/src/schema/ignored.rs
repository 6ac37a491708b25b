//! Parts of a property in `ignore_changes`: `environment.API_URL`,
//! `global_secondary_indexes.*.read_capacity`.
//!
//! **Invariant:** it uses shapes and no values; callers resolve the keys.

use super::{Property, Shape, settable};

/// Why a path is not part of a property.
#[derive(Debug, PartialEq, Eq)]
pub enum Unignorable<'p> {
    /// The property at this point has no parts.
    Whole(&'p str),
    /// There is no part with this name.
    Unknown {
        /// The name.
        name: &'p str,
        /// The valid names.
        known: Vec<&'p str>,
    },
}

/// Whether the shape has parts.
pub fn has_parts(shape: &Shape) -> bool {
    matches!(shape, Shape::Map { .. } | Shape::Record(_))
}

/// The steps from a property with this shape to its part; `*` matches every key. Keys can contain
/// dots, so the shape determines where a key ends.
///
/// # Errors
/// The shape has no such part.
pub fn part_of<'p>(name: &'p str, shape: &'p Shape, rest: &'p str) -> Result<Vec<&'p str>, Unignorable<'p>> {
    match shape {
        Shape::Map { value, .. } => match (&**value, rest.rsplit_once('.')) {
            (Shape::Record(properties), Some((key, last))) => Ok(vec![key, member(properties, last)?.0]),
            _ => Ok(vec![rest]),
        },
        Shape::Record(properties) => {
            let (first, deeper) = rest.split_once('.').map_or((rest, None), |(first, deeper)| (first, Some(deeper)));
            let (first, property) = member(properties, first)?;
            let deeper = deeper.map(|deeper| part_of(first, &property.shape, deeper)).transpose()?;
            Ok(std::iter::once(first).chain(deeper.into_iter().flatten()).collect())
        }
        _ => Err(Unignorable::Whole(name)),
    }
}

fn member<'p>(properties: &'p [Property], name: &'p str) -> Result<(&'p str, &'p Property), Unignorable<'p>> {
    let known = || settable(properties).map(|it| &*it.name).collect();
    let found = settable(properties).find(|it| it.name == name);
    found.map(|it| (name, it)).ok_or_else(|| Unignorable::Unknown { name, known: known() })
}
