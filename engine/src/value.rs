//! Values: what both sides of a diff are made of, and the templates that stand where a value is not known yet.
//!
//! **Invariant:** nothing here knows what a resource, a kind or AWS is.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Number, Value as Json};

/// The properties of one resource, by name.
pub type Tree = BTreeMap<String, Value>;

/// A property's value, as the spec wants it or as AWS has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not set, where that is a state of its own (a stream that is off).
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// A sequence; order matters. Sets are sorted before they come here.
    List(Vec<Value>),
    /// A mapping.
    Map(Tree),
    /// Text that has parts which only AWS can name.
    Unknown(Template),
}

/// Text with holes: `arn:…/${todos.name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// One stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Taken as it is.
    Text(String),
    /// Filled in as soon as it is known.
    Hole(Hole),
}

/// What fills a hole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hole {
    /// `${resource.attribute}`.
    Output {
        /// The resource's name in the spec.
        resource: String,
        /// One of the outputs of its kind.
        attribute: String,
    },
    /// `${account}`, where the spec does not name it: STS does.
    Account,
    /// `${region}`, where neither spec nor flag name it: the AWS chain does.
    Region,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hole::Output { resource, attribute } => write!(f, "${{{resource}.{attribute}}}"),
            Hole::Account => f.write_str("${account}"),
            Hole::Region => f.write_str("${region}"),
        }
    }
}

impl Template {
    /// The holes, in order of appearance.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.0.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// The hole, if the whole template is just one.
    pub fn sole_hole(&self) -> Option<&Hole> {
        match self.0.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    /// Fills the holes that `lookup` knows; text once all are filled.
    pub fn resolve(&self, lookup: &dyn Fn(&Hole) -> Option<String>) -> Value {
        let mut parts: Vec<Part> = Vec::new();
        for part in &self.0 {
            let filled = match part {
                Part::Hole(hole) => lookup(hole).map_or_else(|| part.clone(), Part::Text),
                Part::Text(_) => part.clone(),
            };
            match (parts.last_mut(), filled) {
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, filled) => parts.push(filled),
            }
        }
        if parts.iter().any(|part| matches!(part, Part::Hole(_))) {
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

    /// Fills every hole in it that `lookup` knows.
    pub fn resolve(&self, lookup: &dyn Fn(&Hole) -> Option<String>) -> Value {
        match self {
            Value::Unknown(template) => template.resolve(lookup),
            Value::List(items) => Value::List(items.iter().map(|item| item.resolve(lookup)).collect()),
            Value::Map(map) => Value::Map(resolve(map, lookup)),
            other => other.clone(),
        }
    }

    /// Calls `visit` for every template in it, with the path that leads there.
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

    /// Whether anything in it is not known yet.
    pub fn has_unknown(&self) -> bool {
        let mut found = false;
        self.visit_templates(&Path::default(), &mut |_, _| found = true);
        found
    }
}

/// Fills every hole of a tree that `lookup` knows.
pub fn resolve(tree: &Tree, lookup: &dyn Fn(&Hole) -> Option<String>) -> Tree {
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

/// As JSON; what is not known becomes `null`.
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

/// Where in a resource a value stands: `environment.LOG_LEVEL`, `layers[0]`.
///
/// A path shares the way to its parent, so a step down costs the same however deep or long that way is: a file decides
/// both, and a spec keeps the path of each of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    parent: Path,
    segment: Segment,
    /// Of the whole path.
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

    /// One step down into a mapping.
    pub fn key(&self, key: &str) -> Path {
        self.with(Segment::Key(key.to_owned()))
    }

    /// One step down into a list, counted from 0.
    pub fn index(&self, index: usize) -> Path {
        self.with(Segment::Index(index))
    }

    /// The name of the property that the path begins with.
    pub fn root(&self) -> Option<&str> {
        match self.segments().first() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// One step up; nothing above the top.
    pub fn parent(&self) -> Option<Path> {
        Some(self.0.as_ref()?.parent.clone())
    }

    fn with(&self, segment: Segment) -> Path {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        segment.hash(&mut hasher);
        Path(Some(Arc::new(Link { parent: self.clone(), segment, hash: hasher.finish() })))
    }

    /// From the top down.
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
