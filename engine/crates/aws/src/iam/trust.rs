//! Whether a role's trust policy lets a service assume it, and what that means for an error from
//! Lambda.
//!
//! Lambda returns the same error for a new role and for one with a wrong trust policy; only the
//! policy shows the difference
//! (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
//!
//! **Invariant:** a policy counts as wrong only if no statement can allow the service; conditions
//! make it unknown.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use globset::GlobBuilder;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use crate::answer::{AwsError, CallContext};
use crate::cause::Code;
use crate::connect::Context;
use crate::schema::Id;
use engine_core::wait::SPREADING;

/// The service that runs functions.
pub const LAMBDA: &str = "lambda.amazonaws.com";
const ASSUME: &str = "sts:AssumeRole";

/// What a trust policy allows one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The service can assume the role.
    Granted,
    /// The service can never assume the role; descriptions of the principals that can.
    Missing(BTreeSet<String>),
    /// It depends on something that engine can't determine; the reason.
    Unknown(&'static str),
}

/// Evaluates a trust policy, percent-encoded as IAM returns it, for `service`.
pub fn trust(document: &str, service: &str) -> Trust {
    let Ok(text) = percent_decode_str(document).decode_utf8() else { return Trust::Unknown("it is not valid UTF-8") };
    let Ok(Json::Object(policy)) = serde_json::from_str(&text) else { return Trust::Unknown("it can't be read") };
    let statements: &[Json] = match policy.get("Statement") {
        Some(Json::Array(statements)) => statements,
        Some(statement) => std::slice::from_ref(statement),
        None => return Trust::Unknown("it has no statement"),
    };
    let (mut granted, mut denied, mut doubt) = (false, false, None);
    let mut others = BTreeSet::new();
    for statement in statements {
        let Json::Object(statement) = statement else { return Trust::Unknown("one of its statements can't be read") };
        let (action, principal) = (action_covers(statement), principal_is(statement, service));
        if action == Covers::No || principal == Covers::No {
            if action != Covers::No && statement.get("Effect").and_then(Json::as_str) == Some("Allow") {
                others.extend(principals(statement));
            }
            continue;
        }
        match statement.get("Effect").and_then(Json::as_str) {
            Some("Deny") => denied = true,
            Some("Allow") if has_conditions(statement) => doubt = Some("it has conditions"),
            Some("Allow") if (action, principal) == (Covers::Yes, Covers::Yes) => granted = true,
            _ => doubt = Some("one of its statements is too complex to evaluate"),
        }
    }
    match (granted, doubt) {
        (true, _) if denied => Trust::Unknown("one statement allows it and another denies it"),
        (true, _) => Trust::Granted,
        (false, Some(doubt)) => Trust::Unknown(doubt),
        (false, None) => Trust::Missing(others),
    }
}

/// Why Lambda can't assume a role that only `others` can assume, and how its owner can fix that.
pub fn closed(role: &str, others: &BTreeSet<String>) -> (String, String) {
    let others = match others.iter().cloned().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => String::new(),
        some => format!(", only {some}"),
    };
    let reason =
        format!("the trust policy of the role `{role}` doesn't allow the service `{LAMBDA}` to assume it{others}");
    let remedy = format!(
        "ask the role's owner to add this statement (`aws iam update-assume-role-policy --role-name {role}`): \
         {{\"Effect\": \"Allow\", \"Principal\": {{\"Service\": \"{LAMBDA}\"}}, \"Action\": \"{ASSUME}\"}}"
    );
    (reason, remedy)
}

/// What is wrong with an ARN that differs from the ARN of the role with that name, and what to do.
/// Roles are read by name, so a role with another path or partition is found too.
pub fn misnamed(named: &str, actual: &str) -> (String, String) {
    let reason =
        format!("the ARN of that role is `{actual}`, not `{named}`, and Lambda requires the exact ARN with its path");
    (reason, format!("use `{actual}`, or import the role by name (`type: role`, `import:`) and refer to its `arn`"))
}

/// The result of reading a role that the spec names by ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleLookup {
    /// The ARN of the role with that name, and what its trust policy allows Lambda.
    Found(String, Trust),
    /// No role has that name.
    Missing,
}

/// Reads a role by the name in its ARN; `None` if it can't be read.
pub async fn look_up(cx: &Context, arn: &str) -> Option<RoleLookup> {
    let name = arn.rsplit('/').next()?;
    let read = || async { cx.aws.iam.get_role().role_name(name).send().await.context("GetRole", name) };
    match cx.read(name, read).await {
        Ok(answer) => {
            let role = answer.role?;
            let policy = role.assume_role_policy_document.as_deref().unwrap_or_default();
            Some(RoleLookup::Found(role.arn, trust(policy, LAMBDA)))
        }
        Err(error) => error.is(Code::NotFound).then_some(RoleLookup::Missing),
    }
}

/// Whether a statement covers something: the minimum if all parts must, the maximum of
/// alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Covers {
    No,
    Unknown,
    Yes,
}

/// One text or a list of texts; `None` for other values.
pub(super) fn texts(value: &Json) -> Option<Vec<&str>> {
    match value {
        Json::String(text) => Some(vec![text]),
        Json::Array(items) => items.iter().map(Json::as_str).collect(),
        _ => None,
    }
}

fn action_covers(statement: &Map<String, Json>) -> Covers {
    let Some(patterns) = statement.get("Action").and_then(texts) else { return Covers::Unknown };
    patterns.into_iter().map(|pattern| matches(pattern, ASSUME)).max().unwrap_or(Covers::No)
}

fn principal_is(statement: &Map<String, Json>, service: &str) -> Covers {
    let Some(Json::Object(by_type)) = statement.get("Principal") else { return Covers::Unknown };
    let of_kind = by_type.iter().map(|(kind, names)| match (kind.as_str(), texts(names)) {
        (_, None) => Covers::Unknown,
        ("Service", Some(names)) if names.contains(&service) => Covers::Yes,
        // Whether other spellings of a service's name, or one with its region, are valid is not
        // documented.
        ("Service", Some(names)) => {
            let family = service.split('.').next().unwrap_or(service).to_ascii_lowercase();
            let is_close =
                |name: &&str| name.contains('*') || name.to_ascii_lowercase().split('.').any(|it| it == family);
            if names.iter().any(is_close) { Covers::Unknown } else { Covers::No }
        }
        ("AWS", Some(names)) if names.contains(&"*") => Covers::Unknown,
        ("AWS" | "Federated" | "CanonicalUser", Some(_)) => Covers::No,
        _ => Covers::Unknown,
    });
    of_kind.max().unwrap_or(Covers::No)
}

pub(super) fn has_conditions(statement: &Map<String, Json>) -> bool {
    statement.get("Condition").is_some_and(|it| !it.as_object().is_some_and(Map::is_empty))
}

/// Descriptions of a statement's principals.
fn principals(statement: &Map<String, Json>) -> Vec<String> {
    let Some(Json::Object(by_type)) = statement.get("Principal") else { return Vec::new() };
    let words = |kind: &str, name: &str| match kind {
        "Service" => format!("the service `{name}`"),
        _ => format!("`{name}`"),
    };
    let names = by_type
        .iter()
        .flat_map(|(kind, names)| texts(names).unwrap_or_default().into_iter().map(move |name| words(kind, name)));
    names.collect()
}

/// Whether a pattern with `*` and `?` covers an action or an ARN. It ignores case: right for
/// actions, and only too lenient for ARNs.
pub(super) fn matches(pattern: &str, what: &str) -> Covers {
    // These are special in globs but not in policies, or are policy variables.
    if pattern.contains(['[', ']', '{', '}', '\\']) {
        return Covers::Unknown;
    }
    // Most patterns are complete names, and compiling one takes as long as thousands of comparisons.
    if !pattern.contains(['*', '?']) {
        return if pattern.eq_ignore_ascii_case(what) { Covers::Yes } else { Covers::No };
    }
    match GlobBuilder::new(pattern).case_insensitive(true).literal_separator(false).build() {
        Ok(glob) if glob.compile_matcher().is_match(what) => Covers::Yes,
        Ok(_) => Covers::No,
        Err(_) => Covers::Unknown,
    }
}

/// The diagnosis of a function's role while Lambda refuses it. IAM is called once.
#[derive(Debug, Default)]
pub struct RoleDiagnosis {
    verdict: Mutex<Option<TrustVerdict>>,
}

#[derive(Debug, Clone)]
enum TrustVerdict {
    /// Waiting may help; the reason.
    Wait(String),
    /// The policy is right; the reason, and what to do if waiting doesn't help.
    Right(String, String),
    /// Waiting doesn't help; the reason, and what to do.
    Hopeless(String, String),
}

impl RoleDiagnosis {
    /// Explains an error about the role of a function or mapping: Lambda's refusal to assume it, by
    /// its trust policy. The error becomes final if waiting can't help.
    pub async fn explain(&self, cx: &Context, role: &str, id: &Id, error: AwsError) -> AwsError {
        let error = if error.is(Code::RoleNotAssumable) { self.by_trust(cx, role, id, error).await } else { error };
        final_if_propagated(cx, role, error)
    }

    async fn by_trust(&self, cx: &Context, role: &str, id: &Id, error: AwsError) -> AwsError {
        let account = id.env.as_ref().map(|env| env.account.as_str());
        let known = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let verdict = match known {
            Some(verdict) => verdict,
            None => {
                let verdict = ask(cx, role, account).await;
                // A transient failure is retried at the next refusal.
                let Ok(verdict) = verdict else { return error };
                *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict.clone());
                verdict
            }
        };
        match verdict {
            TrustVerdict::Wait(reason) => AwsError { reason: Some(reason.into()), ..error },
            TrustVerdict::Right(reason, remedy) => {
                AwsError { reason: Some(reason.into()), remedy: Some(remedy.into()), ..error }
            }
            TrustVerdict::Hopeless(reason, remedy) => {
                AwsError { is_final: true, reason: Some(reason.into()), remedy: Some(remedy.into()), ..error }
            }
        }
    }
}

/// An error that a role also causes until IAM has propagated it. Where it surely has, waiting can't
/// help, so the error becomes final.
fn final_if_propagated(cx: &Context, role: &str, error: AwsError) -> AwsError {
    let name = role_in(role).map_or(role, |(_, name)| name);
    let waits =
        error.is_any(&[Code::RoleNotAssumable, Code::StreamNotReadable, Code::RoleLacksRight, Code::KmsKeyNotUsable]);
    if !waits || !cx.aws.seen.has_surely_propagated(name) {
        return error;
    }
    AwsError { is_final: true, ..error }
}

/// Reads a role and its trust policy.
///
/// # Errors
/// Transient failures.
async fn ask(cx: &Context, role: &str, account: Option<&str>) -> Result<TrustVerdict, AwsError> {
    let Some((of_account, name)) = role_in(role) else { return Ok(TrustVerdict::Wait(SPREADING.to_owned())) };
    if account != Some(of_account) {
        return Ok(TrustVerdict::Wait(format!(
            "{SPREADING}; engine can't read the role, because it is in account {of_account}"
        )));
    }
    let answer = match cx.aws.iam.get_role().role_name(name).send().await.context("GetRole", name) {
        Err(error) if error.is_ambiguous() || error.is(Code::Throttled) => return Err(error),
        // A new role may not be found, or have an ID instead of an ARN, for some seconds
        // (docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency).
        Err(error) if error.is(Code::NotFound) && cx.aws.seen.is_new_role(name) => {
            return Ok(TrustVerdict::Wait(SPREADING.to_owned()));
        }
        Err(error) if error.is(Code::NotFound) => {
            let remedy = format!("check the role's name, or ask the account's administrator to create `{name}`");
            return Ok(TrustVerdict::Hopeless(format!("account {of_account} has no role `{name}`"), remedy));
        }
        Err(_) => return Ok(TrustVerdict::Wait(format!("{SPREADING}; its trust policy can't be read"))),
        Ok(answer) => answer,
    };
    let Some(found) = answer.role.filter(|role| role.arn.starts_with("arn:")) else {
        return Ok(TrustVerdict::Wait(SPREADING.to_owned()));
    };
    if found.arn != role {
        let (reason, remedy) = misnamed(role, &found.arn);
        return Ok(TrustVerdict::Hopeless(reason, remedy));
    }
    let role = found;
    if let Ok(created) = role.create_date.to_millis() {
        cx.aws.seen.note_birth(name, created);
    }
    Ok(match trust(role.assume_role_policy_document.as_deref().unwrap_or_default(), LAMBDA) {
        Trust::Granted => TrustVerdict::Right(
            format!("its trust policy is correct, and {SPREADING}"),
            format!(
                "the trust policy of the role `{name}` allows the service `{LAMBDA}` to assume it, but IAM may be slow to \
                 propagate it: run the same command again in a few minutes; if the error persists, ask the account's \
                 administrator whether a policy of the organization denies `{ASSUME}`"
            ),
        ),
        Trust::Unknown(why) => {
            TrustVerdict::Wait(format!("{SPREADING}; engine can't evaluate its trust policy, because {why}"))
        }
        Trust::Missing(others) => {
            let (reason, remedy) = closed(name, &others);
            TrustVerdict::Hopeless(reason, remedy)
        }
    })
}

/// The account and the name in a role's ARN.
fn role_in(arn: &str) -> Option<(&str, &str)> {
    let mut fields = arn.splitn(6, ':').skip(4);
    let (account, resource) = (fields.next()?, fields.next()?);
    Some((account, resource.strip_prefix("role/")?.rsplit('/').next()?))
}

/// Checks that a principal of a policy exists, if it is a role in `account`, the account of the
/// call.
///
/// # Errors
/// `PrincipalUnknown` if the role doesn't exist.
pub async fn check_principal(
    cx: &Context,
    principal: &str,
    account: Option<&str>,
    operation: &str,
    resource: &str,
) -> Result<(), AwsError> {
    let Some((of_account, name)) = role_in(principal).filter(|(of_account, _)| account == Some(*of_account)) else {
        return Ok(());
    };
    let reason = match cx.aws.iam.get_role().role_name(name).send().await.context("GetRole", name) {
        Err(error) if error.is(Code::NotFound) => format!("account {of_account} has no role `{name}`"),
        // Right after its creation, IAM may return an ID instead of the ARN.
        Ok(answer) => match answer.role.map(|role| role.arn).filter(|arn| arn.starts_with("arn:")) {
            Some(arn) if arn != principal => format!("the role `{name}` has the ARN `{arn}`"),
            _ => return Ok(()),
        },
        Err(_) => return Ok(()),
    };
    let error = AwsError::refused(
        Code::PrincipalUnknown,
        operation,
        resource,
        format!("AWS doesn't know the principal `{principal}`"),
    );
    Err(AwsError { reason: Some(reason.into()), ..error })
}

#[cfg(test)]
mod tests {
    use super::*;

    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(statements: &Json) -> Trust {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        trust(&utf8_percent_encode(&policy, NON_ALPHANUMERIC).to_string(), LAMBDA)
    }

    fn allow(principal: &Json) -> Json {
        json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" })
    }

    fn missing(words: &[&str]) -> Trust {
        Trust::Missing(words.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn a_policy_is_wrong_only_if_no_statement_can_allow_lambda() {
        let lambda = json!({ "Service": LAMBDA });
        let with = |mut statement: Json, field: &str, value: Json| {
            statement[field] = value;
            statement
        };
        let deny = |principal: &Json| with(allow(principal), "Effect", json!("Deny"));
        for (statements, wanted) in [
            (allow(&lambda), Trust::Granted),
            (json!([allow(&json!({ "Service": ["ec2.amazonaws.com", LAMBDA] }))]), Trust::Granted),
            (with(allow(&lambda), "Action", json!(["sts:TagSession", "STS:assume*"])), Trust::Granted),
            (with(allow(&lambda), "Action", json!("sts:AssumeR?le")), Trust::Granted),
            (with(allow(&lambda), "Action", json!("*")), Trust::Granted),
            (with(allow(&lambda), "Condition", json!({})), Trust::Granted),
            (json!([allow(&lambda), deny(&json!({ "AWS": "arn:aws:iam::1:root" }))]), Trust::Granted),
            (allow(&json!({ "Service": "ec2.amazonaws.com" })), missing(&["the service `ec2.amazonaws.com`"])),
            (
                json!([allow(&json!({ "Service": "edgelambda.amazonaws.com", "AWS": ["arn:aws:iam::1:root"] }))]),
                missing(&["the service `edgelambda.amazonaws.com`", "`arn:aws:iam::1:root`"]),
            ),
            (with(allow(&lambda), "Action", json!("sts:AssumeRoleWithWebIdentity")), missing(&[])),
            (json!([]), missing(&[])),
            (deny(&lambda), missing(&[])),
        ] {
            assert_eq!(read(&statements), wanted, "{statements}");
        }
        for statements in [
            with(allow(&lambda), "Condition", json!({ "StringEquals": { "aws:SourceAccount": "1" } })),
            json!([allow(&lambda), deny(&lambda)]),
            json!([allow(&lambda), deny(&json!({ "AWS": "*" }))]),
            json!([allow(&lambda), with(deny(&lambda), "Condition", json!({ "Bool": { "a": "true" } }))]),
            with(allow(&lambda), "Action", json!("sts:[A-Z]*")),
            allow(&json!("*")),
            allow(&json!({ "AWS": "*" })),
            allow(&json!({ "Service": "lambda.eu-central-1.amazonaws.com" })),
            allow(&json!({ "Service": "Lambda.amazonaws.com" })),
            json!({ "Effect": "Allow", "NotPrincipal": lambda, "Action": "sts:AssumeRole" }),
            json!({ "Effect": "Allow", "Principal": lambda, "NotAction": "sts:TagSession" }),
            json!("text"),
        ] {
            assert!(matches!(read(&statements), Trust::Unknown(_)), "{statements}: {:?}", read(&statements));
        }
        assert!(matches!(trust("%ff", LAMBDA), Trust::Unknown(_)));
        assert!(matches!(trust("", LAMBDA), Trust::Unknown(_)));
        assert!(matches!(trust("{}", LAMBDA), Trust::Unknown(_)));
    }

    /// One text, alone or in a list, which is equivalent.
    fn one_or_list(text: String) -> impl Strategy<Value = Json> {
        prop_oneof![Just(json!(text)), Just(json!([text]))]
    }

    /// A statement, and whether it alone allows Lambda.
    fn statement() -> impl Strategy<Value = (Json, bool)> {
        let services = prop::sample::select(vec![LAMBDA, "ec2.amazonaws.com", "events.amazonaws.com"]);
        let actions = prop::sample::select(vec!["sts:AssumeRole", "sts:*", "*", "sts:TagSession", "STS:ASSUMEROLE"]);
        let both = (services, actions, prop::bool::ANY);
        both.prop_flat_map(|(service, action, allows)| {
            let grants = allows && service == LAMBDA && action != "sts:TagSession";
            (one_or_list(service.to_owned()), one_or_list(action.to_owned())).prop_map(move |(service, action)| {
                let effect = if allows { "Allow" } else { "Deny" };
                (json!({ "Effect": effect, "Principal": { "Service": service }, "Action": action }), grants)
            })
        })
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let words = vec!["Allow", "Deny", "*", "sts:AssumeRole", LAMBDA, "Service", "AWS", ""];
        let leaf = prop_oneof![
            Just(Json::Null),
            prop::bool::ANY.prop_map(Json::from),
            prop::sample::select(words).prop_map(Json::from),
        ];
        let keys = vec!["Statement", "Effect", "Principal", "Action", "Condition", "Service", "AWS", "NotPrincipal"];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let keys = prop::sample::select(keys.clone());
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec((keys, inner), 0..6)
                    .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_verdict_follows_from_the_statements(all in prop::collection::vec(statement(), 0..5)) {
            let statements: Vec<Json> = all.iter().map(|(statement, _)| statement.clone()).collect();
            let grants = all.iter().any(|(_, grants)| *grants);
            let verdict = read(&json!(statements));
            match verdict {
                Trust::Granted => prop_assert!(grants),
                // Only a denial makes a grant uncertain here.
                Trust::Unknown(_) => prop_assert!(grants && statements.iter().any(|it| it["Effect"] == "Deny")),
                Trust::Missing(ref others) => {
                    prop_assert!(!grants);
                    prop_assert!(!others.iter().any(|it| it.contains(LAMBDA)));
                }
            }
            if let [one] = statements.as_slice() {
                prop_assert_eq!(read(one), verdict);
            }
        }

        #[test]
        fn any_policy_is_evaluated_without_a_panic(policy in any_json(), text in ".{0,40}") {
            trust(&policy.to_string(), LAMBDA);
            trust(&json!({ "Statement": policy }).to_string(), LAMBDA);
            trust(&text, LAMBDA);
        }
    }
}
