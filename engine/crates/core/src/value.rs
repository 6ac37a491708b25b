//! Values on both sides of a diff, and templates for values that are not known yet.
//!
//! **Invariant:** it doesn't depend on resources, kinds or AWS.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Number, Value as Json};

/// The properties of one resource, by name.
pub type Tree = BTreeMap<String, Value>;

/// A property's value, desired or live.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not set, like a stream that is off.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// A sequence in order; sets are already sorted.
    List(Vec<Value>),
    /// A mapping.
    Map(Tree),
    /// Text with parts that only AWS knows.
    Unknown(Template),
}

/// Text with placeholders: `arn:…/${todos.name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// One part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// A value that is filled in once it is known.
    Placeholder(Placeholder),
}

/// The source of a placeholder's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// `${resource.attribute}`.
    Output {
        /// The resource's name in the spec.
        resource: String,
        /// One of the outputs of its kind.
        attribute: String,
    },
    /// `${account}` if the spec doesn't set it; its value comes from STS.
    Account,
    /// `${region}` if neither spec nor flag set it; its value comes from the AWS settings.
    Region,
    /// The partition of that region, in ARNs.
    Partition,
    /// What a build makes, as long as it hasn't run.
    Build,
    /// `${lookup.name}` that hasn't been read.
    Lookup(String),
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placeholder::Output { resource, attribute } => write!(f, "${{{resource}.{attribute}}}"),
            Placeholder::Account => f.write_str("${account}"),
            Placeholder::Region => f.write_str("${region}"),
            Placeholder::Partition => f.write_str("${partition}"),
            Placeholder::Build => f.write_str("${build}"),
            Placeholder::Lookup(name) => write!(f, "${{lookup.{name}}}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Placeholder(placeholder) => placeholder.fmt(f),
        })
    }
}

impl Template {
    /// The placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(placeholder),
            Part::Text(_) => None,
        })
    }

    /// The placeholder, if the template consists only of it.
    pub fn as_reference(&self) -> Option<&Placeholder> {
        match self.0.as_slice() {
            [Part::Placeholder(placeholder)] => Some(placeholder),
            _ => None,
        }
    }

    /// The lookups in it that haven't been read.
    pub fn unread_lookups(&self) -> impl Iterator<Item = &str> {
        self.placeholders().filter_map(|placeholder| match placeholder {
            Placeholder::Lookup(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Fills the placeholders that `lookup` knows; returns text once all are filled.
    pub fn resolve(&self, lookup: &dyn Fn(&Placeholder) -> Option<String>) -> Value {
        let mut parts: Vec<Part> = Vec::new();
        for part in &self.0 {
            let filled = match part {
                Part::Placeholder(placeholder) => lookup(placeholder).map_or_else(|| part.clone(), Part::Text),
                Part::Text(_) => part.clone(),
            };
            match (parts.last_mut(), filled) {
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, filled) => parts.push(filled),
            }
        }
        if parts.iter().any(|part| matches!(part, Part::Placeholder(_))) {
            return Value::Unknown(Template(parts));
        }
        Value::String(match parts.pop() {
            Some(Part::Text(text)) => text,
            _ => String::new(),
        })
    }
}

impl Value {
    /// The text, if it is known text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a known integer.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// A reference to an output of a resource of the spec.
    pub fn reference(resource: &str, output: &str) -> Value {
        let output = Placeholder::Output { resource: resource.to_owned(), attribute: output.to_owned() };
        Value::Unknown(Template(vec![Part::Placeholder(output)]))
    }

    /// What a build makes, as long as it hasn't run.
    pub fn unbuilt() -> Value {
        Value::Unknown(Template(vec![Part::Placeholder(Placeholder::Build)]))
    }

    /// Whether it is what a build makes.
    pub fn is_unbuilt(&self) -> bool {
        matches!(self, Value::Unknown(template) if template.as_reference() == Some(&Placeholder::Build))
    }

    /// The resource of the spec and its output that it refers to, if it is exactly one reference.
    pub fn referred(&self) -> Option<(&str, &str)> {
        let Value::Unknown(template) = self else { return None };
        match template.as_reference()? {
            Placeholder::Output { resource, attribute } => Some((resource, attribute)),
            Placeholder::Account
            | Placeholder::Region
            | Placeholder::Partition
            | Placeholder::Build
            | Placeholder::Lookup(_) => None,
        }
    }

    /// The lookups in it that haven't been read.
    pub fn unread_lookups(&self) -> BTreeSet<&str> {
        let mut unread = BTreeSet::new();
        self.visit_templates(&Path::default(), &mut |_, template| unread.extend(template.unread_lookups()));
        unread
    }

    /// Fills all placeholders that `lookup` knows.
    pub fn resolve(&self, lookup: &dyn Fn(&Placeholder) -> Option<String>) -> Value {
        match self {
            Value::Unknown(template) => template.resolve(lookup),
            Value::List(items) => Value::List(items.iter().map(|item| item.resolve(lookup)).collect()),
            Value::Map(map) => Value::Map(resolve(map, lookup)),
            other => other.clone(),
        }
    }

    /// Calls `visit` for each template and its path.
    pub fn visit_templates<'a>(&'a self, path: &Path, visit: &mut dyn FnMut(&Path, &'a Template)) {
        match self {
            Value::Unknown(template) => visit(path, template),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.visit_templates(&path.index(index), visit);
                }
            }
            Value::Map(map) => {
                for (key, item) in map {
                    item.visit_templates(&path.key(key), visit);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether it contains unknown values.
    pub fn has_unknown(&self) -> bool {
        let mut found = false;
        self.visit_templates(&Path::default(), &mut |_, _| found = true);
        found
    }
}

/// Fills all placeholders of a tree that `lookup` knows.
pub fn resolve(tree: &Tree, lookup: &dyn Fn(&Placeholder) -> Option<String>) -> Tree {
    tree.iter().map(|(key, value)| (key.clone(), value.resolve(lookup))).collect()
}

impl From<Json> for Value {
    fn from(json: Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(bool) => Value::Bool(bool),
            Json::Number(number) => Value::Number(number),
            Json::String(text) => Value::String(text),
            Json::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            Json::Object(map) => Value::Map(map.into_iter().map(|(key, value)| (key, Value::from(value))).collect()),
        }
    }
}

/// Converts a value to JSON; unknown values become `null`.
impl From<&Value> for Json {
    fn from(value: &Value) -> Json {
        match value {
            Value::Null | Value::Unknown(_) => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Number(number) => Json::Number(number.clone()),
            Value::String(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Json::from).collect()),
            Value::Map(map) => tree_to_json(map),
        }
    }
}

/// A tree as a JSON object.
pub fn tree_to_json(tree: &Tree) -> Json {
    Json::Object(tree.iter().map(|(key, value)| (key.clone(), Json::from(value))).collect())
}

/// The path of a value in a resource: `environment.LOG_LEVEL`, `layers[0]`.
///
/// A path shares its parent, so adding a step has a constant cost at any depth and length, which
/// depend on the file. A spec keeps the path of each value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    parent: Path,
    segment: Segment,
    /// The length of the whole path.
    hash: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Key(String),
    Index(usize),
}

impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        self.hash == other.hash && self.segment == other.segment && self.parent == other.parent
    }
}

impl Eq for Link {}

impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Path) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Path) -> Ordering {
        self.segments().cmp(&other.segments())
    }
}

impl Path {
    /// The path of a property at the top of a resource.
    pub fn property(name: &str) -> Path {
        Path::default().key(name)
    }

    /// Appends a key of a mapping.
    pub fn key(&self, key: &str) -> Path {
        self.with(Segment::Key(key.to_owned()))
    }

    /// Appends an index of a list, starting at 0.
    pub fn index(&self, index: usize) -> Path {
        self.with(Segment::Index(index))
    }

    /// The property at the start of the path.
    pub fn root(&self) -> Option<&str> {
        match self.segments().first() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// The parent path; `None` at the top.
    pub fn parent(&self) -> Option<Path> {
        Some(self.0.as_ref()?.parent.clone())
    }

    /// Whether `other` is this path or a path inside it.
    pub fn contains(&self, other: &Path) -> bool {
        let mut path = Some(other.clone());
        while let Some(at) = path {
            if at == *self {
                return true;
            }
            path = at.parent();
        }
        false
    }

    fn with(&self, segment: Segment) -> Path {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        segment.hash(&mut hasher);
        Path(Some(Arc::new(Link { parent: self.clone(), segment, hash: hasher.finish() })))
    }

    /// The steps from the top.
    fn segments(&self) -> Vec<&Segment> {
        let links = std::iter::successors(self.0.as_deref(), |link| link.parent.0.as_deref());
        let mut segments: Vec<&Segment> = links.map(|link| &link.segment).collect();
        segments.reverse();
        segments
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments().into_iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
