//! Reads the resources that are named on the command line, and what belongs to them.
//!
//! **Invariant:** a name that exists nowhere is an error, before anything is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use crate::aws::Context;
use crate::cli::exit::CommandError;
use crate::cli::names;
use crate::cli::session::Session;
use crate::diagnostic::Diagnostic;
use crate::export::ExistingResource;
use crate::kind::Definition;
use crate::live;
use crate::schema::{AwsEnv, Id, Identity, Live, Owner};
use crate::value::Value;

const FUNCTION: &str = "function";
const ROLE: &str = "role";

/// What was found.
pub(super) struct FoundResources {
    /// The resources that were named, and what belongs to them.
    pub(super) existing: Vec<ExistingResource>,
    /// What couldn't be read, one sentence each.
    pub(super) gaps: Vec<String>,
}

/// A resource that may exist.
type Candidate = (Arc<dyn Definition>, Id);

/// Reads everything.
pub(super) async fn find(
    cx: &Context,
    session: &Session<'_>,
    names: &[String],
    env: &AwsEnv,
) -> Result<FoundResources, CommandError> {
    let mut found = FoundResources { existing: Vec::new(), gaps: Vec::new() };
    let reads = names.iter().map(|name| async move { (name, read_named(cx, name, env).await) });
    let mut errors = Vec::new();
    for (name, read) in join_all(reads).await {
        match read? {
            NamedResources { existing, unread } if existing.is_empty() => {
                errors.push(missing(name, &unread, session, env));
            }
            NamedResources { existing, unread } => {
                found.existing.extend(existing);
                found.gaps.extend(unread.iter().map(|(kind, why)| {
                    format!("engine couldn't check whether there is a {kind} `{name}`, because {why}.")
                }));
            }
        }
    }
    if !errors.is_empty() {
        return Err(CommandError { exit: crate::cli::Exit::Failed, diagnostics: errors });
    }
    let functions = found.existing.iter().filter(|it| it.kind.schema().kind == FUNCTION);
    let more = functions.map(|function| belongings(cx, function));
    for FoundResources { existing, gaps } in try_join_all(more).await? {
        found.existing.extend(existing);
        found.gaps.extend(gaps);
    }
    let mut seen = BTreeSet::new();
    found.existing.retain(|it| {
        let parents: Vec<String> = it.id.parents.values().cloned().collect();
        seen.insert((it.kind.schema().kind.clone(), it.id.name.clone(), parents))
    });
    Ok(found)
}

/// What one name refers to.
struct NamedResources {
    existing: Vec<ExistingResource>,
    /// The kinds for which it couldn't be read, and why.
    unread: Vec<(String, String)>,
}

/// Reads what has a name. A role is only referred to, and one that a function uses is found through
/// it, so a role is looked for only if nothing else has the name.
async fn read_named(cx: &Context, name: &str, env: &AwsEnv) -> Result<NamedResources, CommandError> {
    let (roles, others): (Vec<_>, Vec<_>) =
        candidates(cx, name, env)?.into_iter().partition(|(kind, _)| kind.schema().kind == ROLE);
    let mut named = read_candidates(cx, name, &others).await?;
    if named.existing.is_empty() {
        let NamedResources { existing, unread } = read_candidates(cx, name, &roles).await?;
        named.existing.extend(existing);
        named.unread.extend(unread);
    }
    Ok(named)
}

async fn read_candidates(cx: &Context, name: &str, candidates: &[Candidate]) -> Result<NamedResources, CommandError> {
    let reads = candidates.iter().map(|(kind, id)| async move {
        let read = cx.read(&id.name, || live::read_existing(cx, kind, id));
        (kind, id, read.await)
    });
    let mut named = NamedResources { existing: Vec::new(), unread: Vec::new() };
    for (kind, id, read) in join_all(reads).await {
        match read {
            Ok(None) => {}
            Ok(Some(live)) => named.existing.push(existing(kind, id.clone(), live)),
            Err(error) => {
                let why = error.unreadable().ok_or_else(|| CommandError::of_call(&error, &format!("read `{name}`")))?;
                named.unread.push((kind.schema().kind.to_string(), why));
            }
        }
    }
    Ok(named)
}

fn existing(kind: &Arc<dyn Definition>, id: Id, live: Live) -> ExistingResource {
    ExistingResource { kind: Arc::clone(kind), id, live, imported: kind.schema().kind == ROLE }
}

/// What a name or an ARN can refer to.
fn candidates(cx: &Context, name: &str, env: &AwsEnv) -> Result<Vec<Candidate>, CommandError> {
    let id = |name: &str| Id { env: Some(env.clone()), ..Id::named(Owner::default(), name.to_owned()) };
    if !name.starts_with("arn:") {
        let fits = |kind: &&Arc<dyn Definition>| match &kind.schema().identity {
            Identity::Named { text } => text.violation(name).is_none(),
            _ => false,
        };
        return Ok(cx.kinds.iter().filter(fits).map(|kind| (Arc::clone(kind), id(name))).collect());
    }
    let mut fields = name.split(':').skip(3);
    for (word, here) in [("region", &env.region), ("account", &env.account)] {
        let named = fields.next().unwrap_or_default();
        if !named.is_empty() && named != here {
            let problem = format!("`{name}` is in the {word} {named}, but the command runs in {here}");
            let hint =
                if word == "region" { format!("add `--region {named}`") } else { "use another `--profile`".to_owned() };
            return Err(CommandError::usage(problem, hint));
        }
    }
    let of_kind = |kind: &Arc<dyn Definition>| {
        let schema = kind.schema();
        let found = schema.arn.as_ref()?.name(name).filter(|it| !it.is_empty())?;
        matches!(schema.identity, Identity::Named { .. }).then(|| (Arc::clone(kind), id(found)))
    };
    cx.kinds.iter().find_map(of_kind).map(|found| vec![found]).ok_or_else(|| {
        let hint = "use the ARN of a table, a function, a queue, a log group or a role; a function brings its mappings";
        CommandError::usage(format!("`{name}` is not the ARN of a resource that can be exported"), hint)
    })
}

/// The mappings, the permissions and the role of a function.
async fn belongings(cx: &Context, function: &ExistingResource) -> Result<FoundResources, CommandError> {
    let ExistingResource { kind, id, live, .. } = function;
    let (attached, role) = tokio::join!(live::read_attached(cx, &kind.schema().kind, id), role(cx, live, id));
    let (attached, unread) =
        attached.map_err(|error| CommandError::of_call(&error, &format!("read what `{}` has", id.name)))?;
    let name = &id.name;
    let mut gaps: Vec<String> =
        unread.iter().map(|(kind, why)| format!("A {kind} of `{name}` can't be read, because {why}.")).collect();
    let mut more: Vec<ExistingResource> =
        attached.into_iter().map(|(kind, id, live)| existing(&kind, id, live)).collect();
    match role? {
        Some(role) => more.push(role),
        None => gaps.push(format!("The role of `{name}` doesn't exist, so the spec has only its ARN.")),
    }
    Ok(FoundResources { existing: more, gaps })
}

/// The role of a function. Its ARN is all that a spec needs, so no permission to read it is
/// required.
async fn role(cx: &Context, function: &Live, id: &Id) -> Result<Option<ExistingResource>, CommandError> {
    let arn = function.props.get(ROLE).and_then(Value::as_str);
    let Some((arn, kind)) = arn.zip(cx.kinds.get(ROLE)) else { return Ok(None) };
    let name = cx.kinds.name_in_arn(arn).to_owned();
    let id = Id { arn: Some(arn.to_owned()), env: id.env.clone(), ..Id::named(Owner::default(), name.clone()) };
    match cx.read(&id.name, || live::read_existing(cx, kind, &id)).await {
        // A function can have the ARN of a role that was re-created, or that is in another account.
        Ok(live) => {
            let same = live.filter(|live| live.outputs.get("arn").is_some_and(|it| it == arn));
            Ok(same.map(|live| existing(kind, id, live)))
        }
        Err(error) if error.is_denied() => Ok(Some(existing(kind, id, Live::of_arn(arn, &name)))),
        Err(error) => Err(CommandError::of_call(&error, &format!("read the role `{name}`"))),
    }
}

fn missing(name: &str, unread: &[(String, String)], session: &Session<'_>, env: &AwsEnv) -> Diagnostic {
    let scope = names::search_scope(&session.target, env);
    let problem = format!("nothing that engine can export is named `{name}` {}", scope.location());
    let diagnostic = Diagnostic::error(problem, scope.elsewhere());
    match unread.first() {
        Some((kind, why)) => diagnostic.why(format!("it may be a {kind}, which can't be read, because {why}")),
        None => diagnostic,
    }
}
