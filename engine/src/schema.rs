//! What a kind says about itself, as data: its properties, their shapes and ranges, and what a change of each one means.
//!
//! Spec checking, planning and documentation all read the same tables, so a range or a default stands in one place.
//!
//! **Invariant:** data and pure functions only. No I/O, no AWS client, and no kind is named here.

mod ignored;
mod member;
mod partition;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::filter::Fault;
use crate::value::{Path, Tree, Value};

pub use ignored::{Unignorable, has_parts, part_of};
pub use partition::{PARTITIONS, Partition, is_known_region, is_region, partition_of, regions};

/// One resource type: how it is named, what can be set, what can be referred to.
#[derive(Debug)]
pub struct Schema {
    /// The word after `type:`.
    pub kind: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What is worth knowing of the whole kind, in whole sentences; empty: nothing.
    pub remark: &'static str,
    /// The AWS page the table was checked against.
    pub source: &'static str,
    /// What tells one resource of this kind from another in AWS.
    pub naming: Naming,
    /// Whether the engine makes and changes resources of this kind, or only looks them up (`import:`).
    pub managed: bool,
    /// Whether `import:` is allowed.
    pub importable: bool,
    /// Whether an untagged resource of the same name may be taken over.
    pub adoptable: bool,
    /// Whether it holds what can't be made again, so that deleting it needs a word of its own.
    pub holds_data: bool,
    /// What stays in AWS when one with these properties is deleted, where they say so.
    pub leaves: Option<fn(&Tree) -> Option<String>>,
    /// What people have to do without once it is deleted or while it is made anew; `None`: nothing.
    pub outage: Option<Outage>,
    /// Why one with these properties can't be deleted, and what to do about that, where AWS refuses it.
    pub locked: Option<fn(&Tree) -> Option<Lock>>,
    /// What to know when one is made anew while what it connects lives on; sees the wanted properties.
    pub renewal: Option<fn(&Tree) -> &'static str>,
    /// What can be set.
    pub properties: Vec<Property>,
    /// What `${name.…}` can name.
    pub outputs: Vec<Output>,
    /// What AWS's tag index calls resources of this kind; `None`: they bear no tags, or are never looked for.
    pub index: Option<&'static str>,
}

/// Why AWS refuses to delete something, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Why.
    pub reason: &'static str,
    /// What to do.
    pub hint: &'static str,
}

/// What a deletion takes away, a sentence each.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// Where it goes for good.
    pub deleted: &'static str,
    /// Where it is made anew.
    pub replaced: &'static str,
}

/// How a resource is found in AWS.
#[derive(Debug)]
pub enum Naming {
    /// By a name of its own, ours to choose: `<team>-<resource>` unless `name:` says otherwise.
    Own {
        /// What AWS allows as a name.
        text: Text,
    },
    /// By a name inside what it belongs to, whose tags say whose it is: `<team>-<resource>` unless `key` says otherwise.
    Inner {
        /// The property that may name it.
        key: &'static str,
        /// What AWS allows as a name.
        text: Text,
    },
    /// AWS picks an id; found by its tags and by what it connects.
    Assigned,
}

/// One property of a kind.
#[derive(Debug)]
pub struct Property {
    /// Its name in the spec.
    pub name: &'static str,
    /// One line for people: meaning and unit.
    pub doc: &'static str,
    /// What values it takes.
    pub shape: Shape,
    /// Whether it must be there, and what stands in for it.
    pub presence: Presence,
    /// What a change of it means.
    pub change: Rule,
    /// Whether it identifies the resource in AWS (by the name of what it refers to).
    pub identity: bool,
    /// Whether only variables may stand in it, no references.
    pub literal: bool,
    /// Whether its values must never be shown.
    pub sensitive: bool,
    /// Which moment of a freshly created target a reference in it has to wait for.
    pub needs: Moment,
    /// Says what is lost when the whole property changes between two values, a sentence each.
    pub loses: Option<fn(&Value, &Value) -> Vec<String>>,
    /// What a change at that path means, where it takes more than the property to tell; sees the living and the
    /// wanted properties, of which the latter may hold unknown values.
    pub decide: Option<fn(&Path, &Tree, &Tree) -> Effect>,
    /// Whether leaving it out of the spec leaves it in AWS as it is, instead of setting it back.
    pub sticky: bool,
    /// Why a resource with these properties has to be made anew if what this property refers to was, after the
    /// resource's last change: the new one has the name of the old, but AWS tells them apart.
    pub bound: Option<fn(&Tree) -> Option<&'static str>>,
    /// What a written ARN must have in common with the spec, since AWS refuses anything else.
    pub home: Option<Home>,
    /// Whether AWS itself may change it, so that another value is no sign of somebody else's hand.
    pub restless: bool,
    /// The most that AWS takes unless it was asked for more; a larger number or more entries are a warning.
    pub quota: Option<Quota>,
    /// The property that people write instead of this one, which is worked out from it.
    pub derived_from: Option<&'static str>,
    /// The property without which AWS takes no change of this one.
    pub sent_with: Option<&'static str>,
    /// AWS's name for it in requests and errors, as a path (`ProvisionedThroughput.ReadCapacityUnits`); `None`: its own
    /// name in CamelCase.
    pub member: Option<&'static str>,
    /// Why a living value can't be compared with a wanted one, if it can't; then it is kept.
    pub unclear: Option<fn(&Value, &Value) -> Option<&'static str>>,
}

/// A limit that AWS can raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The limit without that: of a number its value, of a list or mapping the number of its entries.
    pub most: i64,
    /// When AWS takes more, as a whole clause.
    pub beyond: &'static str,
}

/// What values a property takes.
#[derive(Debug)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A string.
    Text(Text),
    /// One of a few words. For lists whose words engine's own rules depend on: if AWS added one, engine would have to
    /// learn what it means before it could plan with it.
    Choice(&'static [&'static str]),
    /// A word that engine only passes on, of a list that AWS extends: one that is not on it is a warning, since AWS is
    /// the judge.
    OpenChoice {
        /// What people may choose from, the usual one first.
        offered: Vec<&'static str>,
        /// What AWS has taken once, and is not worth offering.
        retired: Vec<&'static str>,
        /// What a word of the list looks like.
        form: Text,
    },
    /// A string that names another resource, usually as `${name.attribute}`.
    Link {
        /// The pairs of kind and attribute that fit.
        to: &'static [(&'static str, &'static str)],
        /// What may stand there instead of a reference; `None`: a reference to a managed resource only.
        literal: Option<Text>,
    },
    /// Any number of entries with keys of one's own.
    Map {
        /// What a key may be.
        key: Text,
        /// What a value may be.
        value: Box<Shape>,
        /// Most entries.
        max: usize,
    },
    /// One string or a list of strings; one alone is written as a string.
    Texts {
        /// What each may be.
        item: Text,
        /// Most items.
        max: usize,
    },
    /// A sequence.
    List {
        /// What an item may be.
        item: Box<Shape>,
        /// Most items.
        max: usize,
    },
    /// A sequence whose order means nothing.
    Set {
        /// What an item may be.
        item: Box<Shape>,
        /// Most items.
        max: usize,
    },
    /// A JSON object, as YAML or as text.
    Json {
        /// Most characters, written as compact JSON.
        max: usize,
        /// What is one, in YAML.
        example: &'static str,
        /// What is wrong with one that stands at the path.
        faults: fn(&Json, &Path) -> Vec<Fault>,
    },
    /// A mapping with fixed keys.
    Record(Vec<Property>),
    /// A string, or a mapping with fixed keys.
    TextOrRecord(Text, Vec<Property>),
}

/// A string's limits.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// Which characters or forms are allowed.
    pub allows: fn(&str) -> bool,
    /// The same in words, to end the sentence "it takes …".
    pub words: &'static str,
}

/// How a text does not fit.
#[derive(Debug, PartialEq, Eq)]
enum Misfit {
    Empty,
    Form,
    /// With its number of characters.
    Short(usize),
    /// With its number of characters.
    Long(usize),
}

/// What an ARN has to have in common with the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Its region.
    Region,
    /// Its account.
    Account,
}

/// Whether a property must be there.
#[derive(Debug)]
pub enum Presence {
    /// It must.
    Required,
    /// AWS's documented default stands in for it.
    Default(Json),
    /// Absent is a state of its own ("off", "none").
    Optional,
    /// Never written by people: filled in from local files when the spec is read.
    Derived,
}

/// What becomes of a property that differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Compared as a whole.
    Compare(Effect),
    /// Declared entries are ensured, others left alone (tags).
    Ensure,
    /// Needed by the verbs, never returned by AWS, never compared.
    Local,
    /// Never compared, but shown where that property differs.
    ShownWith(&'static str),
    /// Held against what is imported, never written; a difference is refused.
    Checked,
}

/// What it takes to change a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// An update of the living resource.
    InPlace,
    /// Delete and create.
    Replace,
    /// Not done, for this reason.
    Refuse(&'static str),
}

/// A point in the life of a step that others can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// AWS has named its outputs.
    Made,
    /// AWS is done with it.
    Ready,
}

/// Something that `${name.…}` can name. Outputs are always text.
#[derive(Debug)]
pub struct Output {
    /// The attribute.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Where it comes from.
    pub origin: Origin,
}

/// Who decides an output.
#[derive(Debug)]
pub enum Origin {
    /// It follows from the site and the name, so it is known while planning.
    Computed(fn(&Site, &str) -> String),
    /// AWS's choice: kept until one of these properties changes, or the resource is replaced.
    Assigned {
        /// The properties.
        until: &'static [&'static str],
    },
}

/// Where in AWS a run takes place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'static str,
    /// `eu-central-1`, …
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Site {
    /// A site; the partition follows from the region.
    pub fn new(region: &str, account: &str) -> Site {
        Site { partition: partition_of(region).name, region: region.to_owned(), account: account.to_owned() }
    }
}

/// The resource's own name at the end of an ARN: `todos` in `…:table/todos/stream/2026`, `logger` in
/// `…:function:logger`, `runner` in `…:role/path/runner`.
pub fn name_in_arn(arn: &str) -> &str {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split_once(['/', ':']) {
        Some(("table" | "function", rest)) => rest.split(['/', ':']).next().unwrap_or_default(),
        Some(_) => resource.rsplit(['/', ':']).next().unwrap_or_default(),
        None => resource,
    }
}

/// Whether a name begins with the team's, as every name that the engine writes to does.
pub fn is_of_team(name: &str, team: &str) -> bool {
    name.strip_prefix(team).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// Whose a resource is: what the tags `engine:team`, `engine:stack` and `engine:resource` say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The team.
    pub team: String,
    /// The stack.
    pub stack: String,
    /// The resource's name in the spec.
    pub resource: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "team `{}`, stack `{}`, resource `{}`", self.team, self.stack, self.resource)
    }
}

/// The tag that names the team.
pub const TAG_TEAM: &str = "engine:team";
/// The tag that names the stack.
pub const TAG_STACK: &str = "engine:stack";
/// The tag that names the resource in the spec.
pub const TAG_RESOURCE: &str = "engine:resource";
const TAG_CLOUDFORMATION: &str = "aws:cloudformation:stack-name";

impl Owner {
    /// The three tags, as they stand in AWS.
    pub fn tags(&self) -> [(&'static str, &str); 3] {
        [(TAG_TEAM, &self.team), (TAG_STACK, &self.stack), (TAG_RESOURCE, &self.resource)]
    }
}

/// What a read could find out about the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// No tag of ours, nor CloudFormation's.
    Nobody,
    /// All or some of our tags; a missing one is empty.
    Engine(Owner),
    /// CloudFormation's, with the stack's name.
    CloudFormation(String),
    /// Owned through what it lives in.
    Inherited,
    /// The tags can't be read yet; the reason in words.
    NotYetReadable(String),
    /// We may not read the tags.
    Denied,
    /// AWS has no tags for things of this type here.
    Untaggable,
}

impl Ownership {
    /// Reads the owner off a resource's tags.
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Ownership {
        let mut owner = Owner { team: String::new(), stack: String::new(), resource: String::new() };
        let (mut ours, mut cloudformation) = (false, None);
        for (key, value) in tags {
            let slot = match key {
                TAG_TEAM => &mut owner.team,
                TAG_STACK => &mut owner.stack,
                TAG_RESOURCE => &mut owner.resource,
                TAG_CLOUDFORMATION => cloudformation.get_or_insert_default(),
                _ => continue,
            };
            ours |= key != TAG_CLOUDFORMATION;
            value.clone_into(slot);
        }
        match cloudformation {
            Some(stack) => Ownership::CloudFormation(stack),
            None if ours => Ownership::Engine(owner),
            None => Ownership::Nobody,
        }
    }
}

/// Whether a tag is bookkeeping (ours or AWS's) rather than a property of the spec.
pub fn is_reserved_tag(key: &str) -> bool {
    key.starts_with("engine:") || key.starts_with("aws:")
}

/// Which resource in AWS a declaration means. Known from the spec alone, so all reads run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// Whose it is to be.
    pub owner: Owner,
    /// Its name in AWS; a permission's statement id; a mapping's label for people.
    pub name: String,
    /// Set if `import:` gave an ARN.
    pub arn: Option<String>,
    /// The names in AWS of what its identity properties refer to, by property.
    pub anchors: BTreeMap<&'static str, String>,
    /// The account, where the spec or the local AWS names it: it saves a read from waiting for another.
    pub site: Option<Site>,
    /// The one of several that is meant, once a read has told (a mapping's UUID).
    pub incarnation: Option<String>,
}

impl Id {
    /// The name in AWS of what the identity property `property` refers to.
    pub fn anchor(&self, property: &str) -> &str {
        self.anchors.get(property).map_or("", String::as_str)
    }
}

/// The outputs of a resource, by name.
pub type Outputs = BTreeMap<String, String>;

/// What a read found: also half-made things, and whose they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Live<P = Tree> {
    /// Its properties, with AWS's defaults filled in.
    pub props: P,
    /// What AWS has named.
    pub outputs: Outputs,
    /// Whose it is.
    pub owner: Ownership,
    /// What AWS is doing with it.
    pub condition: Condition,
    /// Tells this incarnation from another of the same name (TableId, UUID).
    pub incarnation: Option<String>,
    /// AWS's number for this state of it, where a write can insist on it (`RevisionId`).
    pub revision: Option<String>,
    /// When it was made, and when AWS last took in a change of it.
    pub age: Age,
    /// What is worth knowing about its state, a sentence each: why AWS has stopped it, what its last change failed of.
    pub notes: Vec<String>,
    /// The properties that this read could not show. They have no value in `props`.
    pub unknown: Unknown,
}

/// Why properties can't be read, by property; each reason follows "can't be read, because". What is unknown is not
/// compared, not sent and not waited for.
pub type Unknown = BTreeMap<&'static str, String>;

/// Milliseconds since 1970, as far as AWS tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// When it was made.
    pub born: Option<i64>,
    /// When it was last changed.
    pub changed: Option<i64>,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<P = Tree> {
    /// What was asked for, where its identity leaves no choice.
    pub live: Option<Live<P>>,
    /// What else came to light: of a kind whose id AWS assigns everything that may be meant, of one that lives inside
    /// another its neighbours that bear the team's name.
    pub others: Vec<(Id, Live<P>)>,
}

impl<P> From<Option<Live<P>>> for Reading<P> {
    fn from(live: Option<Live<P>>) -> Reading<P> {
        Reading { live, others: Vec::new() }
    }
}

impl Live {
    /// Treats what an earlier read could not show as unknown, whatever this one shows.
    pub fn forget(&mut self, unknown: &Unknown) {
        for (property, why) in unknown {
            self.props.remove(*property);
            self.unknown.entry(property).or_insert_with(|| why.clone());
        }
    }
}

impl<P> Live<P> {
    /// Whether AWS is still making or changing it, so that what was read may not last.
    pub fn is_moving(&self) -> bool {
        matches!(self.condition, Condition::Changing(_) | Condition::Unclear(_))
    }

    /// Why nothing can be decided about it yet.
    pub fn undecided(&self) -> Option<String> {
        match (&self.owner, &self.condition) {
            (_, Condition::Leaving) => None,
            (Ownership::NotYetReadable(reason), _) => Some(format!("it can't be told yet whose it is: {reason}")),
            (_, Condition::Unclear(state)) => Some(format!("AWS is still working on it ({state})")),
            _ => None,
        }
    }
}

/// What AWS is doing with a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: it is as it is shown.
    Settled,
    /// It is being made or changed; AWS's word for it.
    Changing(String),
    /// It is being made or changed, and what it will be can't be read yet; AWS's word for it.
    Unclear(String),
    /// It is being deleted.
    Leaving,
    /// It failed and only making it anew helps; the reason.
    Broken(String),
    /// AWS has put it into a state that only its owner can mend; AWS's word for it.
    Unusable(String),
}

/// What a resource holds that can't be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Nothing, as a look inside showed, or as with a kind that holds nothing.
    Empty,
    /// About so many items; AWS's estimate is hours old, so it is at least 1 here.
    Items(u64),
    /// Not looked at, or not allowed to.
    Unchecked,
}

/// What is wrong with a set of properties, whatever AWS may say later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: Path,
    /// What.
    pub problem: String,
    /// Why, where the problem alone doesn't say.
    pub why: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether the spec can be carried out nonetheless.
    pub warning: bool,
}

impl Problem {
    /// An error at a property.
    pub fn error(path: Path, problem: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { path, problem: problem.into(), why: None, hint: Some(hint.into()), warning: false }
    }

    /// A warning at a property.
    pub fn warning(path: Path, problem: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { warning: true, ..Problem::error(path, problem, hint) }
    }

    /// Adds the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Problem {
        self.why = Some(why.into());
        self
    }
}

impl Schema {
    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The values in a tree that must never be shown.
    pub fn secrets<'t>(&'t self, tree: &'t Tree) -> impl Iterator<Item = &'t str> {
        let sensitive = self.properties.iter().filter(|property| property.sensitive);
        let maps = sensitive.filter_map(|property| match tree.get(property.name)? {
            Value::Map(values) => Some(values.values()),
            _ => None,
        });
        maps.flatten().filter_map(Value::as_str)
    }

    /// Whether `ignore_changes` may name a property: it is compared, or others are that follow from it.
    pub fn is_ignorable(&self, property: &Property) -> bool {
        let stands_for = |name| self.properties.iter().any(|it| it.derived_from == Some(name));
        !property.identity && (property.is_compared() || stands_for(property.name))
    }

    /// The properties people may write.
    pub fn settable(&self) -> impl Iterator<Item = &Property> {
        settable(&self.properties)
    }

    /// The outputs that follow from the name alone.
    pub fn computed(&self, site: &Site, name: &str) -> Outputs {
        let computed = self.outputs.iter().filter_map(|output| match output.origin {
            Origin::Computed(compute) => Some((output.name.to_owned(), compute(site, name))),
            Origin::Assigned { .. } => None,
        });
        computed.collect()
    }
}

/// Those of a list of properties that people may write.
pub fn settable(properties: &[Property]) -> impl Iterator<Item = &Property> {
    properties.iter().filter(|property| !matches!(property.presence, Presence::Derived))
}

/// A property with the usual answers: compared, changed in place, optional. The builder methods change them.
pub fn property(name: &'static str, shape: Shape, doc: &'static str) -> Property {
    Property {
        name,
        doc,
        shape,
        presence: Presence::Optional,
        change: Rule::Compare(Effect::InPlace),
        identity: false,
        literal: false,
        sensitive: false,
        needs: Moment::Ready,
        loses: None,
        decide: None,
        sticky: false,
        bound: None,
        home: None,
        restless: false,
        quota: None,
        derived_from: None,
        sent_with: None,
        member: None,
        unclear: None,
    }
}

impl Property {
    /// Whether it takes part in the comparison of what is with what is wanted.
    pub fn is_compared(&self) -> bool {
        matches!(self.change, Rule::Compare(_) | Rule::Ensure)
    }

    /// It must be there.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    /// AWS's documented default.
    #[must_use]
    pub fn default(mut self, default: impl Into<Json>) -> Self {
        self.presence = Presence::Default(default.into());
        self
    }

    /// Filled in from local files.
    #[must_use]
    pub fn derived(mut self) -> Self {
        self.presence = Presence::Derived;
        self
    }

    /// Filled in from what that property names.
    #[must_use]
    pub fn derived_from(mut self, other: &'static str) -> Self {
        self.derived_from = Some(other);
        self.derived()
    }

    /// AWS takes no change of it without the other property.
    #[must_use]
    pub fn sent_with(mut self, other: &'static str) -> Self {
        self.sent_with = Some(other);
        self
    }

    /// More than `most` is a warning; `beyond` says when AWS takes it.
    #[must_use]
    pub fn quota(mut self, most: i64, beyond: &'static str) -> Self {
        self.quota = Some(Quota { most, beyond });
        self
    }

    /// What a change means.
    #[must_use]
    pub fn on_change(mut self, effect: Effect) -> Self {
        self.change = Rule::Compare(effect);
        self
    }

    /// Declared entries are ensured, others left alone.
    #[must_use]
    pub fn ensured(mut self) -> Self {
        self.change = Rule::Ensure;
        self
    }

    /// For the verbs alone.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.change = Rule::Local;
        self
    }

    /// Part of what identifies the resource.
    #[must_use]
    pub fn identity(mut self) -> Self {
        self.identity = true;
        self
    }

    /// No references.
    #[must_use]
    pub fn literal(mut self) -> Self {
        self.literal = true;
        self
    }

    /// Its values are never shown.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// A reference in it needs a freshly created target to be made, not to be ready.
    #[must_use]
    pub fn needs_made(mut self) -> Self {
        self.needs = Moment::Made;
        self
    }

    /// What is lost when it changes.
    #[must_use]
    pub fn loses(mut self, loses: fn(&Value, &Value) -> Vec<String>) -> Self {
        self.loses = Some(loses);
        self
    }

    /// What a change means, where it takes more than the property to tell.
    #[must_use]
    pub fn decided_by(mut self, decide: fn(&Path, &Tree, &Tree) -> Effect) -> Self {
        self.decide = Some(decide);
        self
    }

    /// Left out of the spec, it stays as it is in AWS.
    #[must_use]
    pub fn sticky(mut self) -> Self {
        self.sticky = true;
        self
    }

    /// AWS's name for it, where that is not its own in CamelCase.
    #[must_use]
    pub fn member(mut self, member: &'static str) -> Self {
        self.member = Some(member);
        self
    }

    /// When its living value can't be compared with the wanted one, and why.
    #[must_use]
    pub fn unclear(mut self, unclear: fn(&Value, &Value) -> Option<&'static str>) -> Self {
        self.unclear = Some(unclear);
        self
    }

    /// AWS itself may change it.
    #[must_use]
    pub fn restless(mut self) -> Self {
        self.restless = true;
        self
    }

    /// Never compared, shown along with another.
    #[must_use]
    pub fn shown_with(mut self, other: &'static str) -> Self {
        self.change = Rule::ShownWith(other);
        self
    }

    /// Held against what is imported.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.change = Rule::Checked;
        self
    }

    /// A written ARN must have this in common with the spec.
    #[must_use]
    pub fn at_home(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// Tied to one incarnation of what it refers to.
    #[must_use]
    pub fn bound(mut self, why: fn(&Tree) -> Option<&'static str>) -> Self {
        self.bound = Some(why);
        self
    }
}

impl Text {
    /// Any text up to a length.
    pub const fn any(max: usize) -> Text {
        Text { min: 0, max, allows: |_| true, words: "any text" }
    }

    /// Why `text` does not fit, as the end of a sentence that begins with its name; `None` if it does.
    pub fn objection(&self, text: &str) -> Option<String> {
        Some(match self.misfit(text)? {
            Misfit::Empty => "is empty".to_owned(),
            Misfit::Form => "can't be written like this".to_owned(),
            Misfit::Short(length) => format!("has {length} of at least {} characters", self.min),
            Misfit::Long(length) => format!("has {length} characters, {} are allowed", self.max),
        })
    }

    /// What to write instead of a text that does not fit.
    pub fn remedy(&self, text: &str) -> String {
        match self.misfit(text) {
            Some(Misfit::Long(_)) if self.min < self.max => "shorten it".to_owned(),
            Some(Misfit::Short(_)) if self.min < self.max => {
                format!("it takes {} to {} characters: {}", self.min, self.max, self.words)
            }
            _ => format!("it takes {}", self.words),
        }
    }

    /// Whether a text has the right length and the wrong form.
    pub fn is_malformed(&self, text: &str) -> bool {
        self.misfit(text) == Some(Misfit::Form)
    }

    fn misfit(&self, text: &str) -> Option<Misfit> {
        let length = text.chars().count();
        match () {
            () if length > self.max => Some(Misfit::Long(length)),
            () if length == 0 && self.min > 0 => Some(Misfit::Empty),
            // A name where an ARN should be is no ARN that is too short.
            () if !(self.allows)(text) => Some(Misfit::Form),
            () if length < self.min => Some(Misfit::Short(length)),
            () => None,
        }
    }
}
