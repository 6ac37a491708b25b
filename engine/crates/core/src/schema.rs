//! The description of a kind as data: its properties, their shapes and ranges, and the effect of
//! changing each.
//!
//! Spec checks, plans and docs use the same tables, so each range and default is defined once.
//!
//! **Invariant:** only data and pure functions. It has no I/O and no AWS client, and doesn't refer
//! to any kind.

mod arn;
mod ignored;
mod member;
mod names;
mod partition;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use crate::value::{Part, Path, Placeholder, Template, Tree, Value};

pub use arn::ArnForm;
pub use ignored::{Unignorable, has_parts, part_of};
pub use names::Names;
pub use partition::{PARTITIONS, Partition, is_known_region, is_region, partition_of, regions};

/// A text of a schema: a literal, or owned if the schema is read at run time.
pub type Str = Cow<'static, str>;

/// What follows from a resource's properties.
pub type TreeFn<T> = Arc<dyn Fn(&Tree) -> T + Send + Sync>;
/// What follows from a change of a property, given the live and the desired value.
pub type ChangeFn<T> = Arc<dyn Fn(&Value, &Value) -> T + Send + Sync>;
/// The effect of a change at a path, given the live and the desired properties.
pub type EffectFn = Arc<dyn Fn(&Path, &Tree, &Tree) -> Effect + Send + Sync>;
/// The errors in a JSON object at a path.
pub type JsonFn = Arc<dyn Fn(&Json, &Path) -> Vec<Problem> + Send + Sync>;
/// Whether a text's characters and format are allowed.
pub type TextFn = Arc<dyn Fn(&str) -> bool + Send + Sync>;
/// An output that follows from environment and name.
pub type OutputFn = Arc<dyn Fn(&AwsEnv, &str) -> String + Send + Sync>;

/// One resource type: its identity, properties and outputs.
#[derive(Clone)]
pub struct Schema {
    /// The name after `type:`.
    pub kind: Str,
    /// A one-line description.
    pub summary: Str,
    /// Notes about the kind, in complete sentences; may be empty.
    pub remark: Str,
    /// The AWS page that documents the properties.
    pub source: Str,
    /// How AWS identifies resources of this kind.
    pub identity: Identity,
    /// Whether engine can create and change resources of this kind, or only import them.
    pub managed: bool,
    /// Whether `import:` is allowed.
    pub importable: bool,
    /// Whether an untagged resource with the same name can be adopted.
    pub adoptable: bool,
    /// Whether it holds data that can't be re-created, so that deleting it needs a separate flag.
    pub holds_data: bool,
    /// What remains in AWS after deleting a resource with these properties.
    pub retained_on_delete: Option<TreeFn<Option<Retained>>>,
    /// The disruption when it is deleted or replaced.
    pub disruption: Option<Disruption>,
    /// Why AWS refuses to delete a resource with these properties, and how to allow it.
    pub delete_block: Option<TreeFn<Option<DeleteBlock>>>,
    /// A note for re-creating it while the resources that it connects remain; gets the desired
    /// properties.
    pub recreate_note: Option<TreeFn<Str>>,
    /// The properties that a spec can set.
    pub properties: Vec<Property>,
    /// The attributes in `${name.…}`.
    pub outputs: Vec<Output>,
    /// The form of their ARNs, if they have any.
    pub arn: Option<ArnForm>,
    /// Where their owner tags are, and how they are found by them.
    pub tagging: Tagging,
}

/// Where the owner tags of a resource type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagging {
    /// On the parent, or nowhere.
    Inherited,
    /// On the resource, which only its name or a reference to it finds.
    Own,
    /// The same, but AWS's tag index may list it, too.
    PartlyIndexed,
    /// On the resource, and AWS's tag index lists ARNs of the form [`Schema::arn`].
    Indexed,
}

/// Why AWS refuses to delete a resource, and how to allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteBlock {
    /// The reason.
    pub reason: Str,
    /// How to allow it; `{arn}` becomes the resource's ARN.
    pub hint: Str,
}

/// A resource that AWS created for another one, and that remains without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Its kind.
    pub kind: Str,
    /// Its name in AWS.
    pub name: String,
}

/// The disruption that a deletion causes, one sentence each.
#[derive(Debug, Clone)]
pub struct Disruption {
    /// When it is deleted permanently.
    pub deleted: Str,
    /// When it is replaced.
    pub replaced: Str,
}

/// How AWS identifies a resource.
#[derive(Clone)]
pub enum Identity {
    /// By a name that engine chooses: `<team>-<resource>`, or `name:` if set.
    Named {
        /// The format of names.
        text: Text,
    },
    /// By a name within its parent, whose tags show the owner: `<team>-<resource>`, or the property
    /// `key` if set.
    Nested {
        /// The property that can set the name.
        key: Str,
        /// The format of names.
        text: Text,
    },
    /// By an ID that AWS assigns; found by its tags and the resources that it connects.
    ServiceAssigned,
}

/// One property of a kind.
#[derive(Clone)]
pub struct Property {
    /// Its name in the spec.
    pub name: Str,
    /// A one-line description: meaning and unit.
    pub doc: Str,
    /// The values that it accepts.
    pub shape: Shape,
    /// Whether it is required, and its default.
    pub presence: Presence,
    /// The effect of changing it.
    pub change: Rule,
    /// Whether it identifies the resource in AWS (by the name of the target that it refers to).
    pub is_identity: bool,
    /// Whether it refers to the parent: the resource that this one is nested in or attached to.
    pub parent: bool,
    /// When the parent may be imported; `None`: never.
    pub imported_parent: Option<ImportedParent>,
    /// Whether it can contain variables, but no references.
    pub no_references: bool,
    /// Whether it can't contain lookups.
    pub no_lookups: bool,
    /// Whether its values must never be shown.
    pub sensitive: bool,
    /// The milestone of a created target that a reference waits for.
    pub needs: Milestone,
    /// Describes what is lost when the property changes between two values, one sentence each.
    pub destructive_notes: Option<ChangeFn<Vec<String>>>,
    /// Who gains access by a change from one value to another, as one sentence. Then it needs
    /// confirmation, also on a new resource.
    pub exposes: Option<ChangeFn<Option<Str>>>,
    /// The effect of a change at a path, where it depends on other properties; gets the live and
    /// the desired properties, and the latter may contain unknown values.
    pub decide: Option<EffectFn>,
    /// Whether omitting it in the spec keeps the value in AWS instead of resetting it to the
    /// default.
    pub optional_computed: bool,
    /// Why a resource with these properties must be re-created after the target of this property
    /// was re-created with the same name, because AWS distinguishes the old and the new target.
    pub replace_if_target_recreated: Option<TreeFn<Option<Str>>>,
    /// What an ARN must share with the spec, because AWS rejects others.
    pub locality: Option<Locality>,
    /// Whether AWS itself can change it, so that another value doesn't indicate a change by another
    /// process.
    pub service_managed: bool,
    /// Whether `ignore_changes` can name it although a spec can't set it.
    pub is_ignorable: bool,
    /// Whether it can also be set on an imported resource, where a difference is an error.
    pub verified_on_import: bool,
    /// AWS's default quota; a larger number, or more entries, is a warning.
    pub quota: Option<Quota>,
    /// The property in the spec from which this one is derived.
    pub derived_from: Option<Str>,
    /// The property that AWS requires in each change of this one.
    pub sent_with: Option<Str>,
    /// AWS's name for it in requests and errors, as a path
    /// (`ProvisionedThroughput.ReadCapacityUnits`); `None` for its name in CamelCase.
    pub member: Option<Str>,
    /// Why a live value can't be compared with a desired one, if so; then it is kept.
    pub unclear: Option<ChangeFn<Option<Str>>>,
    /// Whether a live and a desired value mean the same to AWS, though they are written
    /// differently.
    pub equivalent: Option<ChangeFn<bool>>,
    /// What names end with if this property is true, and only then.
    pub name_suffix: Option<Str>,
    /// Whether its keys are names of resources.
    pub target_keys: Option<TargetKeys>,
    /// Whether reading it takes a separate call.
    pub separate_read: bool,
}

/// What a key that is the name of a resource can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKeys {
    /// One resource.
    One,
    /// One resource, or all that a resource is repeated as.
    All,
}

/// Whether an ARN is that of a resource or of a part of it: a stream's ARN follows its table's.
pub fn is_arn_within(arn: &str, resource: &str) -> bool {
    arn.strip_prefix(resource).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// When a resource may be attached to an imported one.
#[derive(Debug, Clone)]
pub struct ImportedParent {
    /// The property that must refer to a resource which the spec manages.
    pub source: Str,
    /// The command that deletes the attached resource, with `{}` for its ID and `{region}`: engine
    /// doesn't delete one that the spec no longer declares.
    pub delete_cmd: Str,
}

/// A limit that AWS can raise on request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The default limit: the value of a number, or the number of entries in a list or mapping.
    pub most: i64,
    /// When AWS allows more, as a complete clause.
    pub beyond: Str,
}

/// The values that a property accepts.
#[derive(Clone)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Integer {
        /// The minimum.
        min: i64,
        /// The maximum.
        max: i64,
    },
    /// A string.
    Text(Text),
    /// One of a fixed set of words. For enumerations that engine's rules depend on, so that a new
    /// word in AWS needs a new version of engine.
    Choice(Vec<Str>),
    /// A word of an enumeration that AWS extends and engine passes on unchanged. An unknown word is
    /// a warning, because AWS decides.
    OpenChoice {
        /// The suggested words, the default one first.
        offered: Vec<Str>,
        /// Old words of AWS that are not suggested.
        retired: Vec<Str>,
        /// The format of a word.
        form: Text,
    },
    /// A string that identifies another resource, usually `${name.attribute}`.
    Link {
        /// The allowed pairs of kind and attribute.
        to: Vec<(Str, Str)>,
        /// Allowed text instead of a reference; `None` allows only references to managed resources.
        literal: Option<Text>,
    },
    /// A mapping with user-defined keys.
    Map {
        /// The format of keys.
        key: Text,
        /// The shape of values.
        value: Box<Shape>,
        /// Maximum number of entries.
        max: usize,
    },
    /// One string or a list of strings; a single one is a string.
    Texts {
        /// The format of each string.
        item: Text,
        /// Maximum number of items.
        max: usize,
    },
    /// A sequence.
    List {
        /// The shape of items.
        item: Box<Shape>,
        /// Maximum number of items.
        max: usize,
    },
    /// A sequence without a defined order.
    Set {
        /// The shape of items.
        item: Box<Shape>,
        /// Maximum number of items.
        max: usize,
    },
    /// A JSON object, as YAML or as text.
    Json {
        /// Maximum number of characters as compact JSON.
        max: usize,
        /// An example in YAML.
        example: Str,
        /// The errors in an object at a path; values that aren't known yet are `null`.
        faults: JsonFn,
        /// Whether its texts can contain references, if it is written as YAML.
        references: bool,
    },
    /// A mapping with fixed keys.
    Record(Vec<Property>),
    /// A string, or a mapping with fixed keys.
    TextOrRecord(Text, Vec<Property>),
    /// One of several shapes with different forms in YAML (text, list, mapping), the main one first.
    OneOf(Vec<Shape>),
}

/// A string's limits.
#[derive(Clone)]
pub struct Text {
    /// Minimum number of characters.
    pub min: usize,
    /// Maximum number of characters.
    pub max: usize,
    /// Whether its characters and format are allowed.
    pub allows: TextFn,
    /// A description of the format, to follow "use".
    pub expected: Str,
}

/// Why a text is invalid.
#[derive(Debug, PartialEq, Eq)]
enum Misfit {
    Empty,
    Form,
    /// With its number of characters.
    Short(usize),
    /// With its number of characters.
    Long(usize),
}

/// What an ARN must share with the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locality {
    /// Its region.
    Region,
    /// Its account.
    Account,
}

/// Whether a property is required.
#[derive(Debug, Clone)]
pub enum Presence {
    /// It is required.
    Required,
    /// It defaults to AWS's documented default.
    Default(Json),
    /// It is optional; without a value it is off or not set.
    Optional,
    /// It is needed; without it, the declaration implies a resource and refers to that.
    Implied,
    /// Not settable in a spec: derived from local files or from other resources.
    Derived,
}

/// How a property is compared and changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Compared as a whole.
    Compare(Effect),
    /// Declared entries are set, and others are kept (tags).
    Subset,
    /// Needed by the kind's operations, never returned by AWS, never compared.
    WriteOnly,
    /// Never compared, but shown if the other property differs.
    DisplayWith(Str),
}

/// How a property can be changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// By updating the existing resource.
    InPlace,
    /// By deleting and re-creating the resource.
    Replace,
    /// Not at all, for this reason.
    Refuse(Str),
}

/// A milestone of a step that others can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Milestone {
    /// It is created, and its outputs are known.
    Created,
    /// AWS has finished all changes of it.
    Ready,
}

/// An attribute for `${name.…}`. Outputs are always text.
#[derive(Clone)]
pub struct Output {
    /// The attribute's name.
    pub name: Str,
    /// A one-line description.
    pub doc: Str,
    /// Where its value comes from.
    pub origin: OutputOrigin,
}

/// Where an output's value comes from.
#[derive(Clone)]
pub enum OutputOrigin {
    /// Its ARN, which follows from [`Schema::arn`], so it is known in a plan.
    Arn,
    /// Computed from environment and name, so it is known in a plan.
    Computed(OutputFn),
    /// Assigned by AWS: kept until one of these properties changes as a whole, or the resource is
    /// replaced. A change inside a mapping with fixed keys keeps it.
    Assigned {
        /// The properties.
        until: Vec<Str>,
    },
}

/// The partition, region and account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AwsEnv {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'static str,
    /// `eu-central-1`, …
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

/// Private characters, which no name in AWS contains.
const MARKS: [char; 3] = ['\u{F8F1}', '\u{F8F2}', '\u{F8F3}'];
const PARTITION_MARK: &str = "\u{F8F1}";
const REGION_MARK: &str = "\u{F8F2}";
const ACCOUNT_MARK: &str = "\u{F8F3}";

impl AwsEnv {
    /// Creates an environment; the partition follows from the region.
    pub fn new(region: &str, account: &str) -> AwsEnv {
        AwsEnv { partition: partition_of(region).name, region: region.to_owned(), account: account.to_owned() }
    }

    /// An environment for texts before account and region are known: each unknown part is a mark,
    /// which [`AwsEnv::unmarked`] turns into a placeholder.
    pub fn marked(region: Option<&str>, account: Option<&str>) -> AwsEnv {
        AwsEnv {
            partition: region.map_or(PARTITION_MARK, |region| partition_of(region).name),
            region: region.unwrap_or(REGION_MARK).to_owned(),
            account: account.unwrap_or(ACCOUNT_MARK).to_owned(),
        }
    }

    /// A text with marks as a value, in which they are placeholders.
    pub fn unmarked(text: &str) -> Value {
        let marks = [
            (PARTITION_MARK, Placeholder::Partition),
            (REGION_MARK, Placeholder::Region),
            (ACCOUNT_MARK, Placeholder::Account),
        ];
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(MARKS) {
            let (before, marked) = rest.split_at(at);
            parts.push(Part::Text(before.to_owned()));
            for (mark, placeholder) in &marks {
                if let Some(after) = marked.strip_prefix(mark) {
                    parts.push(Part::Placeholder(placeholder.clone()));
                    rest = after;
                }
            }
        }
        parts.push(Part::Text(rest.to_owned()));
        Template(parts).resolve(&|_| None)
    }

    /// The value of a placeholder: a part of the environment, or the output that `output` returns for a
    /// resource and an attribute.
    pub fn fill(&self, placeholder: &Placeholder, output: impl FnOnce(&str, &str) -> Option<String>) -> Option<String> {
        match placeholder {
            Placeholder::Output { resource, attribute } => output(resource, attribute),
            Placeholder::Account => Some(self.account.clone()),
            Placeholder::Region => Some(self.region.clone()),
            Placeholder::Partition => Some(self.partition.to_owned()),
            Placeholder::Build => None,
            // Lookups are filled in when the spec is checked with their values.
            Placeholder::Lookup(_) => None,
        }
    }
}

/// Whether a name starts with the team; [`Names`] also has those that don't, and knows the kinds
/// whose names can begin with folders.
pub fn is_of_team(name: &str, team: &str) -> bool {
    name.strip_prefix(team).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// A resource's owner, from the tags `engine:team`, `engine:stack` and `engine:resource`. The default
/// one is blank: a lookup with it accepts any owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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

/// The tag for the team.
pub const TAG_TEAM: &str = "engine:team";
/// The tag for the stack.
pub const TAG_STACK: &str = "engine:stack";
/// The tag for the resource's name in the spec.
pub const TAG_RESOURCE: &str = "engine:resource";
const TAG_CLOUDFORMATION: &str = "aws:cloudformation:stack-name";

impl Owner {
    /// The three owner tags in AWS.
    pub fn tags(&self) -> [(&'static str, &str); 3] {
        [(TAG_TEAM, &self.team), (TAG_STACK, &self.stack), (TAG_RESOURCE, &self.resource)]
    }
}

/// The owner of a resource, as far as a read could determine it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// No owner tags of engine or CloudFormation.
    Unowned,
    /// Some or all owner tags of engine; missing ones are empty.
    Engine(Owner),
    /// The same tags on a resource that all regions share, which also name another region.
    OtherRegion(Owner, String),
    /// A CloudFormation stack, with its name.
    CloudFormation(String),
    /// The owner of its parent.
    Inherited,
    /// The tags can't be read yet, for this reason.
    NotYetReadable(String),
    /// No permission to read the tags.
    Denied,
    /// AWS doesn't support tags for this resource type here.
    Untaggable,
}

impl Ownership {
    /// Determines the owner from a resource's tags.
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Ownership {
        let mut owner = Owner::default();
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
            None => Ownership::Unowned,
        }
    }
}

/// Whether a tag belongs to engine or AWS and is no property of the spec.
pub fn is_reserved_tag(key: &str) -> bool {
    key.starts_with("engine:") || key.starts_with("aws:")
}

/// The identity of a resource in AWS. It is known from the spec alone, so all reads can run at
/// once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// Its desired owner.
    pub owner: Owner,
    /// Its name in AWS; for a permission, the statement ID; for a mapping, a display name.
    pub name: String,
    /// The ARN in `import:`, if any.
    pub arn: Option<String>,
    /// Names in AWS of the targets of its identity properties, by property.
    pub parents: BTreeMap<Str, String>,
    /// The environment, if the spec or the local AWS sets the account, so that reads don't depend on
    /// another call.
    pub env: Option<AwsEnv>,
    /// The unique ID assigned by AWS, once a read has determined it (a mapping's UUID).
    pub unique_id: Option<String>,
}

impl Id {
    /// An identity of which only the name is known.
    pub fn named(owner: Owner, name: String) -> Id {
        Id { owner, name, arn: None, parents: BTreeMap::new(), env: None, unique_id: None }
    }

    /// The name in AWS of the target of the identity property `property`.
    pub fn parent(&self, property: &str) -> &str {
        self.parents.get(property).map_or("", String::as_str)
    }
}

/// The outputs of a resource, by name.
pub type Outputs = BTreeMap<String, String>;

/// A resource as read from AWS, possibly incomplete, with its owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Live<P = Tree> {
    /// Its properties, with AWS's defaults filled in.
    pub props: P,
    /// Its known outputs.
    pub outputs: Outputs,
    /// Its owner.
    pub owner: Ownership,
    /// Its status in AWS.
    pub status: Status,
    /// Distinguishes it from an earlier or later resource with the same name (TableId, UUID).
    pub unique_id: Option<String>,
    /// AWS's revision for conditional writes (`RevisionId`).
    pub revision: Option<String>,
    /// When it was created and last changed.
    pub timestamps: Timestamps,
    /// Notes about its state, one sentence each, like why AWS stopped it, or why its last change
    /// failed.
    pub notes: Vec<String>,
    /// Properties that can't be read. They have no value in `props`.
    pub unknown: Unknown,
}

/// Why properties can't be read, by property; each reason follows "can't be read, because". Unknown
/// properties are not compared, not sent and not waited for.
pub type Unknown = BTreeMap<Str, String>;

/// The reason for a property that wasn't read because nothing in the run depends on it. Plans don't
/// report it for each resource.
pub const NOT_NEEDED: &str = "nothing in this run depends on it";

/// Milliseconds since 1970, if AWS returns them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// When it was created.
    pub created: Option<i64>,
    /// When it was last changed.
    pub modified: Option<i64>,
}

/// The result of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<P = Tree> {
    /// The requested resource, if its identity is unique.
    pub live: Option<Live<P>>,
    /// Other resources found by the read: all candidates for kinds with IDs assigned by AWS, and
    /// for nested kinds the siblings whose names start with the team.
    pub others: Vec<(Id, Live<P>)>,
}

impl<P> From<Option<Live<P>>> for Reading<P> {
    fn from(live: Option<Live<P>>) -> Reading<P> {
        Reading { live, others: Vec::new() }
    }
}

impl Live {
    /// What an ARN alone shows of a resource that can't be read.
    pub fn of_arn(arn: &str, name: &str) -> Live {
        Live {
            props: Tree::new(),
            outputs: Outputs::from([("arn".to_owned(), arn.to_owned()), ("name".to_owned(), name.to_owned())]),
            owner: Ownership::Denied,
            status: Status::Stable,
            unique_id: None,
            revision: None,
            timestamps: Timestamps::default(),
            notes: Vec::new(),
            unknown: Unknown::new(),
        }
    }

    /// Marks properties as unknown that an earlier read couldn't show, even if this one does.
    pub fn forget(&mut self, unknown: &Unknown) {
        for (property, why) in unknown {
            self.props.remove(&**property);
            self.unknown.entry(property.clone()).or_insert_with(|| why.clone());
        }
    }
}

impl<P> Live<P> {
    /// Replaces the properties.
    pub fn map<Q>(self, props: Q) -> Live<Q> {
        let Live { props: _, outputs, owner, status, unique_id, revision, timestamps, notes, unknown } = self;
        Live { props, outputs, owner, status, unique_id, revision, timestamps, notes, unknown }
    }

    /// Whether AWS is still creating or changing it, so that its properties may change.
    pub fn is_moving(&self) -> bool {
        matches!(self.status, Status::InTransition(_) | Status::Unreadable(_))
    }

    /// Why engine can't plan for it yet.
    pub fn pending(&self) -> Option<String> {
        match (&self.owner, &self.status) {
            (_, Status::Deleting) => None,
            (Ownership::NotYetReadable(reason), _) => Some(format!("its owner can't be determined yet: {reason}")),
            (_, Status::Unreadable(state)) => Some(format!("AWS is still working on it ({state})")),
            _ => None,
        }
    }
}

/// The status of a resource in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Stable: the properties are current.
    Stable,
    /// A create or change is in progress; AWS's status.
    InTransition(String),
    /// A create or change is in progress, and its result can't be read yet; AWS's status.
    Unreadable(String),
    /// It is being deleted.
    Deleting,
    /// It failed and must be re-created; the reason.
    Failed(String),
    /// It is in a state that only its owner can fix; AWS's status.
    Unusable(String),
}

/// The data in a resource that can't be re-created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// No data, as checked, or because the kind holds none.
    Empty,
    /// Approximate number of items, at least 1; AWS's estimate can be hours old.
    Items(u64),
    /// Not checked, or no permission to check.
    Unchecked,
}

/// What stops working when a resource is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Kind and name of each.
    pub known: Vec<(Str, String)>,
    /// Why others can't be ruled out, as complete clauses.
    pub unchecked: Vec<String>,
}

/// A problem of a resource, found without AWS. With its place in the spec, it becomes a
/// [`Diagnostic`](crate::diagnostic::Diagnostic).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The property; empty for the whole resource.
    pub path: Path,
    /// What is wrong.
    pub problem: String,
    /// The reason, if the problem doesn't include it.
    pub why: Option<String>,
    /// How to fix it.
    pub hint: String,
    /// Whether it is only a warning.
    pub warning: bool,
    /// The properties that the resource can't take: if one of them is a default, it is skipped
    /// instead.
    pub inapplicable: Vec<Inapplicable>,
}

/// A property that a resource can't take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inapplicable {
    /// Its name.
    pub property: String,
    /// The property of the resource because of which it can't; if that is a default as well, the
    /// defaults are wrong.
    pub because: Option<String>,
}

impl Problem {
    /// An error at a property.
    pub fn error(path: Path, problem: impl Into<String>, hint: impl Into<String>) -> Problem {
        let (problem, hint) = (problem.into(), hint.into());
        Problem { path, problem, why: None, hint, warning: false, inapplicable: Vec::new() }
    }

    /// A warning at a property.
    pub fn warning(path: Path, problem: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { warning: true, ..Problem::error(path, problem, hint) }
    }

    /// Declares that the resource can't take the property, so that a default for it is skipped.
    #[must_use]
    pub fn inapplicable(self) -> Problem {
        match self.path.root().map(str::to_owned) {
            Some(property) => self.or_inapplicable(property, None),
            None => self,
        }
    }

    /// Declares that the resource can't take a property because of another one, so that a default for
    /// it is skipped.
    #[must_use]
    pub fn inapplicable_with(self, property: &str, because: &str) -> Problem {
        self.or_inapplicable(property.to_owned(), Some(because.to_owned()))
    }

    fn or_inapplicable(mut self, property: String, because: Option<String>) -> Problem {
        self.inapplicable.push(Inapplicable { property, because });
        self
    }

    /// Adds the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Problem {
        self.why = Some(why.into());
        self
    }
}

impl Schema {
    /// The property with this name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The properties that take a call of their own to read.
    pub fn separate_reads(&self) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(|property| property.separate_read)
    }

    /// The output with this name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The values in a tree that must never be shown.
    pub fn secrets<'t>(&'t self, tree: &'t Tree) -> impl Iterator<Item = &'t str> {
        let sensitive = self.properties.iter().filter(|property| property.sensitive);
        let maps = sensitive.filter_map(|property| match tree.get(&*property.name)? {
            Value::Map(values) => Some(values.values()),
            _ => None,
        });
        maps.flatten().filter_map(Value::as_str)
    }

    /// Whether `ignore_changes` can contain a property: it, or a property derived from it, is
    /// compared.
    pub fn is_ignorable(&self, property: &Property) -> bool {
        let stands_for = self.properties.iter().any(|it| it.derived_from.as_ref() == Some(&property.name));
        let is_named = property.is_ignorable || !matches!(property.presence, Presence::Derived);
        is_named && !property.is_identity && (property.is_compared() || stands_for)
    }

    /// The properties that a spec can set.
    pub fn settable(&self) -> impl Iterator<Item = &Property> {
        settable(&self.properties)
    }

    /// The outputs that follow from environment and name.
    pub fn computed(&self, env: &AwsEnv, name: &str) -> Outputs {
        let computed = self.outputs.iter().filter_map(|output| {
            let value = match &output.origin {
                OutputOrigin::Arn => self.arn.as_ref()?.of(env, name),
                OutputOrigin::Computed(compute) => compute(env, name),
                OutputOrigin::Assigned { .. } => return None,
            };
            Some((output.name.to_string(), value))
        });
        computed.collect()
    }

    /// Whether resources of this kind have owner tags of their own.
    pub fn is_tagged(&self) -> bool {
        self.tagging != Tagging::Inherited
    }

    /// Whether AWS's tag index lists them.
    pub fn is_indexed(&self) -> bool {
        matches!(self.tagging, Tagging::Indexed | Tagging::PartlyIndexed)
    }

    /// Whether AWS's tag index may miss them, so that their names must be listed.
    pub fn needs_listing(&self) -> bool {
        matches!(self.tagging, Tagging::Own | Tagging::PartlyIndexed)
    }

    /// The property that refers to the resource that it is nested in or attached to.
    pub fn parent(&self) -> Option<&Property> {
        self.properties.iter().find(|property| property.parent)
    }

    /// The property with the hash of local files, which shows whether they changed.
    pub fn content_hash(&self) -> Option<&Property> {
        self.properties.iter().find(|property| property.derived_from.is_some() && property.is_compared())
    }
}

/// The properties in a list that a spec can set.
pub fn settable(properties: &[Property]) -> impl Iterator<Item = &Property> {
    properties.iter().filter(|property| !matches!(property.presence, Presence::Derived))
}

/// A property with defaults: compared, changed in place, optional. The builder methods change them.
pub fn property(name: impl Into<Str>, shape: Shape, doc: impl Into<Str>) -> Property {
    Property {
        name: name.into(),
        doc: doc.into(),
        shape,
        presence: Presence::Optional,
        change: Rule::Compare(Effect::InPlace),
        is_identity: false,
        parent: false,
        imported_parent: None,
        no_references: false,
        no_lookups: false,
        sensitive: false,
        needs: Milestone::Ready,
        destructive_notes: None,
        exposes: None,
        decide: None,
        optional_computed: false,
        replace_if_target_recreated: None,
        locality: None,
        service_managed: false,
        is_ignorable: false,
        verified_on_import: false,
        quota: None,
        derived_from: None,
        sent_with: None,
        member: None,
        unclear: None,
        equivalent: None,
        name_suffix: None,
        target_keys: None,
        separate_read: false,
    }
}

impl Property {
    /// Whether its live and desired values are compared.
    pub fn is_compared(&self) -> bool {
        matches!(self.change, Rule::Compare(_) | Rule::Subset)
    }

    /// The properties inside it, if it is or can be a mapping with fixed keys.
    pub fn members(&self) -> &[Property] {
        match &self.shape {
            Shape::Record(members) | Shape::TextOrRecord(_, members) => members,
            Shape::OneOf(shapes) => {
                let members = shapes.iter().find_map(|it| match it {
                    Shape::Record(members) => Some(members.as_slice()),
                    _ => None,
                });
                members.unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Whether values inside it must never be shown.
    pub fn has_sensitive_members(&self) -> bool {
        self.members().iter().any(|member| member.sensitive)
    }

    /// Makes it required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    /// Sets AWS's documented default.
    #[must_use]
    pub fn default(mut self, default: impl Into<Json>) -> Self {
        self.presence = Presence::Default(default.into());
        self
    }

    /// Lets a declaration without it imply a resource.
    #[must_use]
    pub fn implied(mut self) -> Self {
        self.presence = Presence::Implied;
        self
    }

    /// Derives it from local files.
    #[must_use]
    pub fn derived(mut self) -> Self {
        self.presence = Presence::Derived;
        self
    }

    /// Lets `ignore_changes` name it although a spec can't set it.
    #[must_use]
    pub fn ignorable(mut self) -> Self {
        self.is_ignorable = true;
        self
    }

    /// Derives it from another property.
    #[must_use]
    pub fn derived_from(mut self, other: impl Into<Str>) -> Self {
        self.derived_from = Some(other.into());
        self.derived()
    }

    /// Sends it only together with the other property, as AWS requires.
    #[must_use]
    pub fn sent_with(mut self, other: impl Into<Str>) -> Self {
        self.sent_with = Some(other.into());
        self
    }

    /// Warns of values above `most`; `beyond` explains when AWS allows them.
    #[must_use]
    pub fn quota(mut self, most: i64, beyond: impl Into<Str>) -> Self {
        self.quota = Some(Quota { most, beyond: beyond.into() });
        self
    }

    /// Sets the effect of a change.
    #[must_use]
    pub fn on_change(mut self, effect: Effect) -> Self {
        self.change = Rule::Compare(effect);
        self
    }

    /// Sets declared entries and keeps others.
    #[must_use]
    pub fn subset(mut self) -> Self {
        self.change = Rule::Subset;
        self
    }

    /// Declares that its keys are names of resources.
    #[must_use]
    pub fn target_keys(mut self, keys: TargetKeys) -> Self {
        self.target_keys = Some(keys);
        self
    }

    /// Uses it only for the kind's operations.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.change = Rule::WriteOnly;
        self
    }

    /// Makes it part of the resource's identity.
    #[must_use]
    pub fn identity(mut self) -> Self {
        self.is_identity = true;
        self
    }

    /// Makes it the reference to the parent, which is part of the resource's identity.
    #[must_use]
    pub fn parent(mut self) -> Self {
        self.parent = true;
        self.identity()
    }

    /// Allows an imported parent if `source` refers to a resource that the spec manages.
    #[must_use]
    pub fn or_imported(mut self, source: impl Into<Str>, delete_cmd: impl Into<Str>) -> Self {
        self.imported_parent = Some(ImportedParent { source: source.into(), delete_cmd: delete_cmd.into() });
        self
    }

    /// Disallows references.
    #[must_use]
    pub fn no_references(mut self) -> Self {
        self.no_references = true;
        self
    }

    /// Disallows lookups: what AWS keeps there is for people, and not kept confidential.
    #[must_use]
    pub fn no_lookups(mut self) -> Self {
        self.no_lookups = true;
        self
    }

    /// Whether it can contain lookups.
    pub fn takes_lookups(&self) -> bool {
        !self.no_lookups && !self.no_references && self.change != Rule::Subset
    }

    /// Hides its values.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Marks it as one that takes a separate call to read.
    #[must_use]
    pub fn separate_read(mut self) -> Self {
        self.separate_read = true;
        self
    }

    /// Lets references wait only until a new target is created, not until it is ready.
    #[must_use]
    pub fn needs_created(mut self) -> Self {
        self.needs = Milestone::Created;
        self
    }

    /// Sets what is lost when it changes.
    #[must_use]
    pub fn destructive_notes(mut self, notes: impl Fn(&Value, &Value) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.destructive_notes = Some(Arc::new(notes));
        self
    }

    /// Sets who gains access by a change of its value.
    #[must_use]
    pub fn exposes(mut self, exposes: impl Fn(&Value, &Value) -> Option<Str> + Send + Sync + 'static) -> Self {
        self.exposes = Some(Arc::new(exposes));
        self
    }

    /// Sets the effect of a change where it depends on other properties.
    #[must_use]
    pub fn decided_by(mut self, decide: impl Fn(&Path, &Tree, &Tree) -> Effect + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// Keeps the value in AWS if the spec omits it.
    #[must_use]
    pub fn optional_computed(mut self) -> Self {
        self.optional_computed = true;
        self
    }

    /// Sets AWS's name for it, if that is not its name in CamelCase.
    #[must_use]
    pub fn member(mut self, member: impl Into<Str>) -> Self {
        self.member = Some(member.into());
        self
    }

    /// Sets when and why its live value can't be compared with the desired one.
    #[must_use]
    pub fn unclear(mut self, unclear: impl Fn(&Value, &Value) -> Option<Str> + Send + Sync + 'static) -> Self {
        self.unclear = Some(Arc::new(unclear));
        self
    }

    /// Sets when a live and a desired value mean the same to AWS.
    #[must_use]
    pub fn equivalent(mut self, is_same: impl Fn(&Value, &Value) -> bool + Send + Sync + 'static) -> Self {
        self.equivalent = Some(Arc::new(is_same));
        self
    }

    /// Sets what names of resources end with if this property is true, and only then.
    #[must_use]
    pub fn name_suffix(mut self, suffix: impl Into<Str>) -> Self {
        self.name_suffix = Some(suffix.into());
        self
    }

    /// Marks it as changeable by AWS itself.
    #[must_use]
    pub fn service_managed(mut self) -> Self {
        self.service_managed = true;
        self
    }

    /// Shows it together with another property and never compares it.
    #[must_use]
    pub fn display_with(mut self, other: impl Into<Str>) -> Self {
        self.change = Rule::DisplayWith(other.into());
        self
    }

    /// Verifies it on imported resources.
    #[must_use]
    pub fn verified_on_import(mut self) -> Self {
        self.verified_on_import = true;
        self
    }

    /// Requires that an ARN shares this with the spec.
    #[must_use]
    pub fn in_locality(mut self, locality: Locality) -> Self {
        self.locality = Some(locality);
        self
    }

    /// Requires a re-create after its target was re-created.
    #[must_use]
    pub fn replace_if_target_recreated(mut self, why: impl Fn(&Tree) -> Option<Str> + Send + Sync + 'static) -> Self {
        self.replace_if_target_recreated = Some(Arc::new(why));
        self
    }
}

impl Effect {
    /// Refuses the change for this reason.
    pub fn refuse(why: impl Into<Str>) -> Effect {
        Effect::Refuse(why.into())
    }
}

impl Shape {
    /// One of these words.
    pub fn choice<S: Into<Str>>(words: impl IntoIterator<Item = S>) -> Shape {
        Shape::Choice(words.into_iter().map(Into::into).collect())
    }

    /// A reference to one of these kinds and attributes, or a text of the form `literal`.
    pub fn link<S: Into<Str>>(to: impl IntoIterator<Item = (S, S)>, literal: Option<&Text>) -> Shape {
        let to = to.into_iter().map(|(kind, attribute)| (kind.into(), attribute.into()));
        Shape::Link { to: to.collect(), literal: literal.cloned() }
    }
}

impl Output {
    /// An output that follows from environment and name.
    pub fn computed(
        name: impl Into<Str>,
        doc: impl Into<Str>,
        compute: impl Fn(&AwsEnv, &str) -> String + Send + Sync + 'static,
    ) -> Output {
        Output { name: name.into(), doc: doc.into(), origin: OutputOrigin::Computed(Arc::new(compute)) }
    }

    /// The ARN, from [`Schema::arn`].
    pub fn arn(name: impl Into<Str>, doc: impl Into<Str>) -> Output {
        Output { name: name.into(), doc: doc.into(), origin: OutputOrigin::Arn }
    }

    /// An output that AWS assigns once.
    pub fn assigned(name: impl Into<Str>, doc: impl Into<Str>) -> Output {
        Output { name: name.into(), doc: doc.into(), origin: OutputOrigin::Assigned { until: Vec::new() } }
    }

    /// Lets AWS assign it again with each change of these properties as a whole.
    #[must_use]
    pub fn until<S: Into<Str>>(mut self, properties: impl IntoIterator<Item = S>) -> Output {
        self.origin = OutputOrigin::Assigned { until: properties.into_iter().map(Into::into).collect() };
        self
    }
}

impl Text {
    /// A text with a number of characters in this range; `expected` describes what `allows` checks, to follow "use".
    pub fn new(
        length: RangeInclusive<usize>,
        expected: impl Into<Str>,
        allows: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Text {
        let (min, max) = length.into_inner();
        Text { min, max, allows: Arc::new(allows), expected: expected.into() }
    }

    /// Any text up to a maximum length.
    pub fn any(max: usize) -> Text {
        Text::new(0..=max, "any text", |_| true)
    }

    /// Why `text` is invalid, to be appended to its name; `None` if it is valid.
    pub fn violation(&self, text: &str) -> Option<String> {
        Some(match self.misfit(text)? {
            Misfit::Empty => "is empty".to_owned(),
            Misfit::Form => "has an invalid format".to_owned(),
            Misfit::Short(length) => format!("must have at least {} characters, but has {length}", self.min),
            Misfit::Long(length) => format!("has {length} characters, but the maximum is {}", self.max),
        })
    }

    /// How to fix an invalid text.
    pub fn suggestion(&self, text: &str) -> String {
        match self.misfit(text) {
            Some(Misfit::Long(_)) if self.min < self.max => "shorten it".to_owned(),
            Some(Misfit::Short(_)) if self.min < self.max => {
                format!("use {} to {} characters: {}", self.min, self.max, self.expected)
            }
            _ => format!("use {}", self.expected),
        }
    }

    /// Whether a text has a valid length and an invalid format.
    pub fn is_malformed(&self, text: &str) -> bool {
        self.misfit(text) == Some(Misfit::Form)
    }

    fn misfit(&self, text: &str) -> Option<Misfit> {
        let length = text.chars().count();
        if length > self.max {
            Some(Misfit::Long(length))
        } else if length == 0 && self.min > 0 {
            Some(Misfit::Empty)
        } else if !(self.allows)(text) {
            // Check the format first: a name instead of an ARN is not too short.
            Some(Misfit::Form)
        } else if length < self.min {
            Some(Misfit::Short(length))
        } else {
            None
        }
    }
}
