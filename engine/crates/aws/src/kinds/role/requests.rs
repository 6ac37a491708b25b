//! The requests about one role: its read, and the changes, one at a time.
//!
//! **Invariant:** each change sends only what differs, since IAM's updates leave absent members
//! unchanged, and every list is read to its end before something is removed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_iam::error::BuildError;
use aws_sdk_iam::types::Tag;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

use engine_core::wait::Detail;

use crate::aws::{AwsError, CallContext, Context, Existing, Wait};
use crate::cause::Code;
use crate::iam::document;
use crate::iam::execution::INTERFACES;
use crate::kinds::{
    ExistenceTracker, all_tags, detail, differing, has_tags, missing, missing_tags, must_tag, own_tags,
};
use crate::ownership::OwnershipVerdict;
use crate::schema::{Id, Live, Outputs, Ownership, Status, Timestamps, Unknown, Users};
use crate::spec::ResourceDecl;
use crate::value::Value;

use super::policy::{by_name, document_of};
use super::{Props, interfaces};

/// The name of the inline policy that engine writes.
const POLICY: &str = "engine";
/// IAM has one set of role names for all regions, so a role's tags name its region too.
const TAG_REGION: &str = "engine:region";

/// docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
const BUSY: Wait = Wait {
    what: "IAM to accept the change",
    reason: "IAM allows one change of a role at a time and needs seconds to propagate each",
    inspect_cmd: "aws iam get-role --role-name {}",
    limit: None,
    budget: Duration::from_secs(120),
};
const GONE: Wait = Wait { what: "the role to be deleted", ..BUSY };

/// Reads a role with its policies, all at once.
pub(super) async fn read(cx: &Context, id: &Id) -> Result<Option<Live<Props>>, AwsError> {
    let name = id.name.as_str();
    let policies = async {
        match cx.detail {
            Detail::Full | Detail::Lean => {
                Some(tokio::join!(attached(cx, name), inline(cx, name), inline_policy(cx, name)))
            }
            Detail::ForDelete | Detail::Imported => None,
        }
    };
    let role = async {
        match cx.detail {
            // Twenty teams share one read of an imported role.
            Detail::Imported => Ok(cx.aws.role(name).await.if_exists()?.and_then(|answer| answer.role)),
            Detail::Full | Detail::Lean | Detail::ForDelete => get(cx, name).await,
        }
    };
    let (role, policies) = tokio::join!(role, policies);
    let Some(role) = role? else { return Ok(None) };
    if role.role_name != name && cx.detail != Detail::Imported {
        return Err(other_case(id, &role.role_name));
    }
    let trust = role.assume_role_policy_document.as_deref().unwrap_or_default();
    cx.aws.seen.note_trust(&role.role_name, trust);
    if let Ok(created) = role.create_date.to_millis() {
        cx.aws.seen.note_birth(&role.role_name, created);
    }
    let document = decoded(trust);
    let mut unknown = missing([
        ("path", role.path.is_empty()),
        ("max_session_duration", role.max_session_duration.is_none()),
        ("assume_role_policy", document.is_none()),
    ]);
    let Policies { managed, inline, engine } = Policies::of(policies, &mut unknown)?;
    let tags: Vec<(&str, &str)> = role.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    let props = Props {
        // IAM always sends it; the SDK uses an empty string if it is missing.
        path: Some(role.path.clone()).filter(|path| !path.is_empty()),
        description: role.description.clone().unwrap_or_default(),
        max_session_duration: role.max_session_duration.unwrap_or(3600),
        assume_role_policy: document.unwrap_or_default(),
        policy: engine,
        managed_policy_arns: managed,
        inline_policies: inline,
        permissions_boundary: role.permissions_boundary().and_then(|it| it.permissions_boundary_arn.clone()),
        tags: own_tags(tags.iter().copied()),
        ..Props::default()
    };
    Ok(Some(Live {
        props,
        outputs: outputs(id, &role.path, &role.arn),
        owner: owner(cx, tags),
        status: Status::Stable,
        unique_id: Some(role.role_id),
        revision: None,
        timestamps: Timestamps { created: role.create_date.to_millis().ok(), modified: None },
        notes: Vec::new(),
        unknown,
    }))
}

/// IAM's role names ignore case, so a name in another case is the same role
/// (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, RoleName).
fn other_case(id: &Id, actual: &str) -> AwsError {
    let message = format!("there is a role `{actual}`, and IAM ignores the case of role names");
    let error = AwsError::refused(Code::NameTaken, "GetRole", &id.name, message);
    AwsError { remedy: Some("use another name, or the same case".into()), ..error }
}

/// What one read of a role's policies showed.
type PolicyReads = (
    Result<Option<Vec<String>>, AwsError>,
    Result<Option<Vec<String>>, AwsError>,
    Result<Option<Option<Json>>, AwsError>,
);

/// The policies of a role.
struct Policies {
    managed: Vec<String>,
    /// The names of the inline policies besides engine's.
    inline: Vec<String>,
    /// The statements of engine's own policy, by name.
    engine: Json,
}

impl Policies {
    /// The policies that could be read; the others become unknown.
    fn of(reads: Option<PolicyReads>, unknown: &mut Unknown) -> Result<Policies, AwsError> {
        let Some((managed, inline, engine)) = reads else {
            let properties = ["managed_policy_arns", "inline_policies", "policy"];
            let why = "this command doesn't depend on it";
            unknown.extend(properties.into_iter().map(|property| (property.into(), why.to_owned())));
            return Ok(Policies { managed: Vec::new(), inline: Vec::new(), engine: json!({}) });
        };
        let managed = detail(managed, &["managed_policy_arns"], unknown)?.unwrap_or_default();
        let mut inline = detail(inline, &["inline_policies"], unknown)?.unwrap_or_default();
        inline.retain(|name| name != POLICY);
        let engine = match detail(engine, &["policy"], unknown)? {
            Some(Some(document)) => Json::from(&by_name(&document)),
            Some(None) => {
                unknown.insert("policy".into(), "AWS's response isn't a JSON document".to_owned());
                json!({})
            }
            None => json!({}),
        };
        Ok(Policies { managed, inline, engine })
    }
}

/// The owner in a role's tags. A role of the same stack in another region is another stack's.
fn owner(cx: &Context, tags: Vec<(&str, &str)>) -> Ownership {
    let region = tags.iter().find(|(key, _)| *key == TAG_REGION).map(|(_, region)| (*region).to_owned());
    match (Ownership::from_tags(tags), region) {
        (Ownership::Engine(owner), Some(region)) if region != cx.aws.region => Ownership::OtherRegion(owner, region),
        (owner, _) => owner,
    }
}

/// Right after a role's creation, IAM may return an ID instead of its ARN. Until the account is
/// known, the ARN is then unknown, too.
fn outputs(id: &Id, path: &str, arn: &str) -> Outputs {
    let arn = match &id.env {
        _ if arn.starts_with("arn:") => Some(arn.to_owned()),
        Some(env) => Some(format!("arn:{}:iam::{}:role{path}{}", env.partition, env.account, id.name)),
        None => None,
    };
    let arn = arn.map(|arn| ("arn".to_owned(), arn));
    arn.into_iter().chain([("name".to_owned(), id.name.clone())]).collect()
}

async fn get(cx: &Context, name: &str) -> Result<Option<aws_sdk_iam::types::Role>, AwsError> {
    let answer = cx.aws.iam.get_role().role_name(name).send().await.context("GetRole", name).if_exists()?;
    Ok(answer.and_then(|answer| answer.role))
}

/// The ARNs of the attached managed policies, sorted.
async fn attached(cx: &Context, name: &str) -> Result<Option<Vec<String>>, AwsError> {
    let pages = cx.aws.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
    let policies = pages.collect::<Result<Vec<_>, _>>().await.context("ListAttachedRolePolicies", name).if_exists()?;
    let arns = policies.map(|it| it.into_iter().filter_map(|it| it.policy_arn).collect::<BTreeSet<_>>());
    Ok(arns.map(|arns| arns.into_iter().collect()))
}

/// The names of all inline policies.
async fn inline(cx: &Context, name: &str) -> Result<Option<Vec<String>>, AwsError> {
    let pages = cx.aws.iam.list_role_policies().role_name(name).into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.context("ListRolePolicies", name).if_exists()
}

/// engine's inline policy: `None` if there is none, `Some(None)` if it isn't JSON.
async fn inline_policy(cx: &Context, name: &str) -> Result<Option<Option<Json>>, AwsError> {
    let request = cx.aws.iam.get_role_policy().role_name(name).policy_name(POLICY);
    let answer = request.send().await.context("GetRolePolicy", name).if_exists()?;
    Ok(answer.map(|answer| decoded(&answer.policy_document)))
}

/// IAM percent-encodes documents once; `+` is a plus
/// (docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html).
fn decoded(document: &str) -> Option<Json> {
    serde_json::from_str(&percent_decode_str(document).decode_utf8().ok()?).ok()
}

/// The names of all roles of the account.
pub(super) async fn names(cx: &Context) -> Result<Vec<String>, AwsError> {
    let pages = cx.aws.iam.list_roles().max_items(1000).into_paginator().items().send();
    let roles = pages.collect::<Result<Vec<_>, _>>().await.context("ListRoles", "")?;
    Ok(roles.into_iter().map(|role| role.role_name).collect())
}

/// Creates a role with its policies.
pub(super) async fn create(cx: &Context, id: &Id, want: &Props) -> Result<Outputs, AwsError> {
    let trust = want.assume_role_policy.to_string();
    let tags = tags(cx, id, want)?;
    let tracker = ExistenceTracker::default();
    let send = || async {
        let request = cx
            .aws
            .iam
            .create_role()
            .role_name(&id.name)
            .assume_role_policy_document(&trust)
            .set_path(want.path.clone().filter(|path| path != "/"))
            .set_description(Some(want.description.clone()).filter(|text| !text.is_empty()))
            .set_max_session_duration(Some(want.max_session_duration).filter(|seconds| *seconds != 3600))
            .set_permissions_boundary(want.permissions_boundary.clone())
            .set_tags(Some(tags.clone()));
        let answer = request.send().await.context("CreateRole", &id.name).map_err(with_import)?;
        let path = want.path.as_deref().unwrap_or("/");
        Ok(outputs(id, path, answer.role.as_ref().map_or("", |role| &role.arn)))
    };
    let find = || async {
        let Some(live) = tracker.note("GetRole", id, read(cx, id).await?)? else { return Ok(None) };
        if OwnershipVerdict::of(&live.owner, None, &id.owner) == OwnershipVerdict::Owned {
            crate::kinds::ensure_matches("CreateRole", id, &diff_from_wanted(&live.props, want))?;
            return Ok(Some(live.outputs));
        }
        Err(crate::kinds::name_conflict("CreateRole", id))
    };
    let outputs = cx.create(BUSY, &id.name, send, find).await?;
    cx.aws.seen.note_new_role(&id.name);
    if has_statements(&want.policy) {
        put_policy(cx, id, &want.policy).await?;
    }
    for arn in &want.managed_policy_arns {
        attach(cx, id, arn).await?;
    }
    Ok(outputs)
}

/// The properties that differ from what a create would have set. Policies have separate calls, so
/// each is either missing or as another run has set it.
fn diff_from_wanted(live: &Props, want: &Props) -> Vec<String> {
    let is_part = |have: &[String], want: &[String]| have.iter().all(|name| want.contains(name));
    let equal = [
        // IAM changes the form of principals.
        ("assume_role_policy", is_same_trust(live, want)),
        ("policy", !has_statements(&live.policy) || live.policy == want.policy),
        ("managed_policy_arns", is_part(&live.managed_policy_arns, &want.managed_policy_arns)),
        ("inline_policies", is_part(&live.inline_policies, &want.inline_policies)),
        ("tags", has_tags(&live.tags, &want.tags)),
    ];
    let others = equal.into_iter().filter(|(_, is_equal)| !is_equal).map(|(name, _)| format!("`{name}`"));
    differing(want, live, &equal.map(|(name, _)| name)).into_iter().chain(others).collect()
}

/// What to do without permission to create roles.
fn with_import(error: AwsError) -> AwsError {
    if !error.is_denied() {
        return error;
    }
    let hint = "ask the account's administrator for this permission, or for a role to import: `type: role`, `import: \
                NAME`, and `role: ${…}` at the function";
    AwsError { remedy: Some(hint.into()), ..error }
}

/// Changes a role from `have` to `want`.
pub(super) async fn update(cx: &Context, id: &Id, have: &Live<Props>, want: &Props) -> Result<(), AwsError> {
    let before = &have.props;
    if must_tag(cx, id, &have.owner, &before.tags, &want.tags) {
        tag(cx, id, &missing_tags(&before.tags, &want.tags)).await?;
    }
    if (&before.description, before.max_session_duration) != (&want.description, want.max_session_duration) {
        let send = || async {
            let request = cx.aws.iam.update_role().role_name(&id.name);
            let request = request
                .set_description((before.description != want.description).then(|| want.description.clone()))
                .set_max_session_duration(
                    (before.max_session_duration != want.max_session_duration).then_some(want.max_session_duration),
                );
            request.send().await.context("UpdateRole", &id.name).map(drop)
        };
        cx.send(BUSY, &id.name, send).await?;
    }
    if !is_same_trust(before, want) || grants(before) != grants(want) {
        cx.aws.seen.note_changed_role(&id.name);
    }
    if !is_same_trust(before, want) {
        let trust = want.assume_role_policy.to_string();
        let send = || async {
            let request = cx.aws.iam.update_assume_role_policy().role_name(&id.name).policy_document(&trust);
            request.send().await.context("UpdateAssumeRolePolicy", &id.name).map(drop)
        };
        cx.send(BUSY, &id.name, send).await?;
    }
    update_boundary(cx, id, before, want).await?;
    let policy = with_interfaces(cx, id, have, want).await?;
    if before.policy != policy {
        put_policy(cx, id, &policy).await?;
    }
    for arn in want.managed_policy_arns.iter().filter(|arn| !before.managed_policy_arns.contains(arn)) {
        attach(cx, id, arn).await?;
    }
    for arn in before.managed_policy_arns.iter().filter(|arn| !want.managed_policy_arns.contains(arn)) {
        detach(cx, id, arn).await?;
    }
    for name in before.inline_policies.iter().filter(|name| !want.inline_policies.contains(name)) {
        delete_inline(cx, id, name).await?;
    }
    Ok(())
}

/// Whether two trust policies grant the same, in any form.
fn is_same_trust(have: &Props, want: &Props) -> bool {
    let [have, want] = [have, want].map(|props| &props.assume_role_policy);
    have == want || document::is_equivalent(have, want)
}

/// The wanted policy. While a function with the role has a VPC, in the run in which it leaves the
/// VPC, and until a read shows that Lambda has removed the network interfaces, the role keeps the permissions for that
/// (docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html). A later run removes them.
async fn with_interfaces(cx: &Context, id: &Id, have: &Live<Props>, want: &Props) -> Result<Json, AwsError> {
    let mut policy = want.policy.clone();
    if let (Some(before), Json::Object(statements)) = (have.props.policy.get(INTERFACES), &mut policy)
        && !statements.contains_key(INTERFACES)
        && (cx.aws.seen.has_vpc_function(&id.name) || interfaces::may_exist(cx, id, have.unique_id.as_deref()).await?)
    {
        statements.insert(INTERFACES.to_owned(), before.clone());
    }
    Ok(policy)
}

/// What decides about permissions.
fn grants(props: &Props) -> (&Json, &[String], &[String], Option<&str>) {
    let Props { policy, managed_policy_arns, inline_policies, permissions_boundary, .. } = props;
    (policy, managed_policy_arns, inline_policies, permissions_boundary.as_deref())
}

fn has_statements(policy: &Json) -> bool {
    policy.as_object().is_some_and(|statements| !statements.is_empty())
}

async fn update_boundary(cx: &Context, id: &Id, before: &Props, want: &Props) -> Result<(), AwsError> {
    if before.permissions_boundary == want.permissions_boundary {
        return Ok(());
    }
    let send = || async {
        match &want.permissions_boundary {
            Some(arn) => {
                let request = cx.aws.iam.put_role_permissions_boundary().role_name(&id.name).permissions_boundary(arn);
                request.send().await.context("PutRolePermissionsBoundary", &id.name).map(drop)
            }
            None => {
                let request = cx.aws.iam.delete_role_permissions_boundary().role_name(&id.name);
                request.send().await.context("DeleteRolePermissionsBoundary", &id.name).if_deleted()
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}

/// Writes engine's inline policy, or deletes it if it has no statement.
async fn put_policy(cx: &Context, id: &Id, policy: &Json) -> Result<(), AwsError> {
    if !has_statements(policy) {
        return delete_inline(cx, id, POLICY).await;
    }
    let document = document_of(&Value::from(policy.clone())).to_string();
    let send = || async {
        let request = cx.aws.iam.put_role_policy().role_name(&id.name).policy_name(POLICY).policy_document(&document);
        request.send().await.context("PutRolePolicy", &id.name).map(drop)
    };
    cx.send(BUSY, &id.name, send).await
}

async fn delete_inline(cx: &Context, id: &Id, policy: &str) -> Result<(), AwsError> {
    let send = || async {
        let request = cx.aws.iam.delete_role_policy().role_name(&id.name).policy_name(policy);
        request.send().await.context("DeleteRolePolicy", &id.name).if_deleted()
    };
    cx.send(BUSY, &id.name, send).await
}

async fn attach(cx: &Context, id: &Id, arn: &str) -> Result<(), AwsError> {
    let send = || async {
        let request = cx.aws.iam.attach_role_policy().role_name(&id.name).policy_arn(arn);
        request.send().await.context("AttachRolePolicy", &id.name).map(drop)
    };
    cx.send(BUSY, &id.name, send).await
}

async fn detach(cx: &Context, id: &Id, arn: &str) -> Result<(), AwsError> {
    let send = || async {
        let request = cx.aws.iam.detach_role_policy().role_name(&id.name).policy_arn(arn);
        request.send().await.context("DetachRolePolicy", &id.name).if_deleted()
    };
    cx.send(BUSY, &id.name, send).await
}

/// All tags of a role: the declared ones, the owner's, and its region.
fn tags(cx: &Context, id: &Id, want: &Props) -> Result<Vec<Tag>, AwsError> {
    let mut tags: BTreeMap<String, String> = all_tags(&id.owner, &want.tags).into_iter().collect();
    tags.insert(TAG_REGION.to_owned(), cx.aws.region.clone());
    to_sdk(tags)
}

fn to_sdk(tags: BTreeMap<String, String>) -> Result<Vec<Tag>, AwsError> {
    let build = |(key, value): (String, String)| Tag::builder().key(key).value(value).build();
    let defect = |error: BuildError| AwsError::defect(format!("a tag can't be built: {error}"));
    tags.into_iter().map(build).collect::<Result<Vec<_>, _>>().map_err(defect)
}

async fn tag(cx: &Context, id: &Id, missing: &BTreeMap<String, String>) -> Result<(), AwsError> {
    let tags = tags(cx, id, &Props { tags: missing.clone(), ..Props::default() })?;
    let send = || async {
        let request = cx.aws.iam.tag_role().role_name(&id.name).set_tags(Some(tags.clone()));
        request.send().await.context("TagRole", &id.name).map(drop)
    };
    cx.send(BUSY, &id.name, send).await
}

/// Removes the owner tags and the region.
pub(super) async fn untag(cx: &Context, id: &Id) -> Result<(), AwsError> {
    let keys = id.owner.tags().map(|(key, _)| key.to_owned()).into_iter().chain([TAG_REGION.to_owned()]);
    let keys: Vec<String> = keys.collect();
    let send = || async {
        let request = cx.aws.iam.untag_role().role_name(&id.name).set_tag_keys(Some(keys.clone()));
        request.send().await.context("UntagRole", &id.name).map(drop)
    };
    cx.send(BUSY, &id.name, send).await
}

/// Deletes a role: its policies first, as IAM requires
/// (docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html). Another client may attach
/// more in the meantime.
pub(super) async fn delete(cx: &Context, id: &Id, role_id: Option<&str>) -> Result<(), AwsError> {
    let name = id.name.as_str();
    // The functions of a replaced role keep their interfaces.
    if let Some(role_id) = role_id.filter(|_| !cx.aws.seen.is_replaced_role(name)) {
        let (attached, engine) = (|| attached(cx, name), || inline_policy(cx, name));
        let (attached, engine) = tokio::join!(cx.read(name, attached), cx.read(name, engine));
        let attached = attached?.unwrap_or_default();
        let engine = match engine {
            Ok(document) => document.unwrap_or(Some(json!({}))),
            Err(error) if error.is_denied() => None,
            Err(error) => return Err(error),
        };
        match interfaces::await_removal(cx, name, role_id).await {
            // A role with which Lambda can't remove any usually has none.
            Err(error) if error.unreadable().is_some() && !interfaces::may_have(&attached, engine.as_ref()) => {}
            answer => answer?,
        }
    }
    let send =
        || async { cx.aws.iam.delete_role().role_name(name).send().await.context("DeleteRole", name).if_deleted() };
    remove_policies(cx, id).await?;
    let again = || async { remove_policies(cx, id).await.map(|()| None) };
    cx.change(BUSY, name, send, again).await?;
    let is_deleted = || async { Ok(get(cx, name).await?.is_none().then_some(())) };
    cx.until(GONE, name, is_deleted).await
}

/// Removes all policies of a role.
async fn remove_policies(cx: &Context, id: &Id) -> Result<(), AwsError> {
    let name = id.name.as_str();
    let (attached, inline) = (|| attached(cx, name), || inline(cx, name));
    let (attached, inline) = tokio::try_join!(cx.read(name, attached), cx.read(name, inline))?;
    for arn in attached.iter().flatten() {
        detach(cx, id, arn).await?;
    }
    for policy in inline.iter().flatten() {
        delete_inline(cx, id, policy).await?;
    }
    Ok(())
}

/// What uses a role, as the plan shows it: functions that run with it, and instance profiles that
/// contain it.
pub(super) async fn users(cx: &Context, name: &str) -> Result<Users, AwsError> {
    let profiles = || profiles(cx, name);
    let (functions, profiles, role) =
        tokio::join!(cx.aws.functions(), cx.read(name, profiles), cx.read(name, || get(cx, name)));
    let mut users = Users::default();
    match functions {
        Ok(functions) => {
            let functions = functions.iter().filter(|it| it.role().is_some_and(|role| is_named(role, name)));
            let functions = functions.filter_map(|it| it.function_name.clone()).map(|it| ("function".into(), it));
            users.known.extend(functions);
        }
        Err(error) if error.is_denied() => {
            cx.aws.seen.note_unlisted_functions();
            let why = "you lack permission to list the account's functions, so engine can't check whether others run \
                       with it; they would stop working";
            users.unchecked.push(why.to_owned());
        }
        Err(error) => return Err(error),
    }
    match profiles {
        Ok(profiles) => users.known.extend(profiles.into_iter().map(|it| ("instance profile".into(), it))),
        Err(error) if error.is_denied() => {
            let why =
                "you lack permission to list the role's instance profiles, so engine can't check whether it has any";
            users.unchecked.push(why.to_owned());
        }
        Err(error) => return Err(error),
    }
    let used_in = role?.and_then(|role| role.role_last_used?.region).filter(|region| *region != cx.aws.region);
    users.unchecked.extend(used_in.map(|region| {
        format!(
            "it was last used in `{region}`, where engine doesn't list functions; those that run with it would stop \
             working"
        )
    }));
    Ok(users)
}

/// The instance profiles that contain a role, by name.
async fn profiles(cx: &Context, role: &str) -> Result<Vec<String>, AwsError> {
    let pages = cx.aws.iam.list_instance_profiles_for_role().role_name(role).into_paginator().items().send();
    let profiles = pages.collect::<Result<Vec<_>, _>>().await;
    let profiles = profiles.context("ListInstanceProfilesForRole", role).if_exists()?;
    Ok(profiles.into_iter().flatten().map(|it| it.instance_profile_name).collect())
}

/// Whether an ARN is that of the role with this name, which is unique across paths.
fn is_named(arn: &str, name: &str) -> bool {
    arn.rsplit('/').next() == Some(name)
}

/// Checks that nothing would stop working without the role: no instance profile contains it, and no
/// function runs with it, except those that get its successor.
///
/// # Errors
/// [`Code::RoleInUse`] with what uses it.
pub(super) async fn check_unused(cx: &Context, name: &str, followers: &[&ResourceDecl]) -> Result<(), AwsError> {
    let functions = async {
        let pages = cx.aws.lambda.list_functions().into_paginator().items().send();
        match pages.collect::<Result<Vec<_>, _>>().await.context("ListFunctions", "") {
            // The plan said so, and it was confirmed.
            Err(error) if error.is_denied() && cx.aws.seen.lacks_functions() => Ok(Vec::new()),
            functions => functions,
        }
    };
    let (profiles, functions) = tokio::join!(profiles(cx, name), functions);
    let profiles = profiles?.into_iter().map(|it| format!("the instance profile `{it}`"));
    let follows = |function: &str| followers.iter().any(|it| it.schema().kind == "function" && it.id.name == function);
    let functions = functions?
        .into_iter()
        .filter(|it| it.role().is_some_and(|role| is_named(role, name)))
        .filter_map(|it| it.function_name);
    let functions = functions.filter(|it| !follows(it)).map(|it| format!("the function `{it}`"));
    let users: Vec<String> = profiles.chain(functions).collect();
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("it is still used by {}", users.join(", "));
    Err(AwsError::refused(Code::RoleInUse, "DeleteRole", name, message))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// The characters that RFC 3986 doesn't allow in a query.
    const FEWEST: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'<').add(b'>').add(b'{').add(b'}');

    proptest! {
        /// A policy may contain what looks encoded (`arn%3Aaws%3A…`), and a plus is a plus.
        #[test]
        fn a_document_is_decoded_exactly_once(
            texts in prop::collection::vec("(%[0-9A-F]{2}|%25|[+ -~é€🦉]){0,12}", 1..5),
            encodes_all in any::<bool>(),
        ) {
            let document = json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": texts, "Resource": "arn:aws:s3:::*",
                "Condition": { "ArnLike": { "aws:SourceArn": format!("arn%3Aaws%3A{}", texts[0]) } },
            }] });
            let set = if encodes_all { NON_ALPHANUMERIC } else { FEWEST };
            let answer = utf8_percent_encode(&document.to_string(), set).to_string();
            prop_assert_eq!(decoded(&answer), Some(document.clone()), "{}", answer);
            let mut again = document.clone();
            let first = percent_decode_str(&texts[0]).decode_utf8_lossy();
            again["Statement"][0]["Action"] = json!(first);
            // Actions are a set, whose names have no case.
            let is_same = texts.iter().all(|text| text.eq_ignore_ascii_case(&first));
            prop_assert_eq!(document::is_equivalent(&decoded(&answer).unwrap(), &again), is_same);
        }
    }
}
