//! A team tries to gain permissions through its own spec, with the policy that `engine policy
//! --boundary` printed for the host's version of that spec. An account that enforces the policy
//! shows what such a run can do.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::policy::{ObservedCall, allows, required_permissions};
use super::server::{Cloud, Witness};
use super::world::role::Role;
use super::world::{ACCOUNT, Call, Reply, World};
use super::{Project, ROLE, replaced};
use crate::shared::program::flat;

/// The limit of all roles, by the host.
const LIMIT: &str = "arn:aws:iam::123456789012:policy/students";
const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
/// A role of the host without a limit; its name has the team's prefix.
const HOSTS_ROLE: &str = "blue-owls-admin";
/// A role of another team.
const THEIR_ROLE: &str = "red-foxes-runner";
const OWN_ROLE: &str = "blue-owls-runner";

/// The spec that the host knows: its role has the limit.
fn hosts_spec(text: &str) -> String {
    let import = format!("import: {ROLE}");
    let text = replaced(text, &import, &format!("permissions_boundary: {LIMIT}"));
    text.replace("execution-role", "runner")
}

/// Enforces a policy, by the subset of IAM's rules that it uses.
struct Enforcer {
    policy: Json,
    refused: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Witness for Enforcer {
    fn verdict(&mut self, call: &Call, world: &World) -> Option<Reply> {
        let mapping = world.mappings.iter().find(|it| it.uuid == call.about);
        let mapping = mapping.map(|it| (it.function.clone(), it.tags.clone()));
        let role = world.roles.get(&call.about);
        let is_new = call.operation == "CreateRole";
        let boundary =
            if is_new { call.query.get("PermissionsBoundary") } else { role.and_then(|it| it.boundary.as_ref()) };
        let path = if is_new { call.query.get("Path") } else { role.map(|it| &it.path) };
        let rights = required_permissions(&ObservedCall { call, account: ACCOUNT, mapping });
        let lacking = rights.into_iter().find(|right| {
            let mut right = right.clone();
            if let Some(boundary) = boundary.filter(|_| right.action.starts_with("iam:")) {
                right.context.insert("iam:PermissionsBoundary".to_owned(), boundary.clone());
            }
            if let Some(path) = path.filter(|_| right.action != "iam:PassRole") {
                right.resource = right.resource.replace(":role/", &format!(":role{path}"));
            }
            !allows(&self.policy, &right)
        })?;
        self.refused.lock().unwrap().push(lacking.action.clone());
        let text = format!(
            "User: arn:aws:iam::{ACCOUNT}:user/student is not authorized to perform: {} on resource: {} because no \
             identity-based policy allows the {0} action",
            lacking.action, lacking.resource
        );
        Some(Reply::of(call.operation, 403, "AccessDenied", &text))
    }
}

/// What ends an attempt.
#[derive(Clone, Copy)]
enum StoppedBy {
    /// engine refuses the spec or the plan, with these words.
    Refused(&'static str),
    /// AWS refuses this action.
    Denied(&'static str),
    /// It succeeds, and the limit still applies to the role.
    Limited,
}

use StoppedBy::{Denied, Limited, Refused};

/// An attempt: edits of the host's spec, before or after its first apply, and further arguments.
struct Escape {
    name: &'static str,
    is_deployed: bool,
    edits: Vec<(String, String)>,
    args: &'static [&'static str],
    end: StoppedBy,
}

fn attempt(name: &'static str, from: &str, to: &str, end: StoppedBy) -> Escape {
    let edits = vec![(from.to_owned(), to.to_owned())];
    Escape { name, is_deployed: false, edits, args: &[], end }
}

impl Escape {
    /// After the host's version was deployed.
    fn later(self) -> Escape {
        Escape { is_deployed: true, ..self }
    }

    fn and(mut self, from: &str, to: &str) -> Escape {
        self.edits.push((from.to_owned(), to.to_owned()));
        self
    }

    fn with(self, args: &'static [&'static str]) -> Escape {
        Escape { args, ..self }
    }
}

fn attempts() -> Vec<Escape> {
    let limit = &format!("permissions_boundary: {LIMIT}");
    let role = &format!("type: role\n    {limit}");
    let and = |more: &str| format!("{limit}\n    {more}");
    let everything = "statements: [{ actions: [\"*\"], resources: [\"*\"] }]";
    vec![
        attempt("a role without a limit", &format!("\n    {limit}"), "", Denied("iam:CreateRole")),
        attempt("another limit", LIMIT, ADMIN, Denied("iam:CreateRole")),
        attempt(
            "the limit in another account",
            "::123456789012:policy/",
            "::210987654321:policy/",
            Denied("iam:CreateRole"),
        ),
        attempt("the limit in another case", "policy/students", "policy/Students", Denied("iam:CreateRole")),
        attempt("no limit and every permission", limit, everything, Denied("iam:CreateRole")),
        attempt("another path", limit, &and("path: /admin/"), Denied("iam:CreateRole")),
        attempt("another team", "\nteam: blue-owls", "\nteam: red-foxes", Denied("iam:GetRole")),
        attempt("another team by option", limit, limit, Denied("iam:GetRole")).with(&["--team", "red-foxes"]),
        attempt("a name without the prefix", limit, &and("name: admin"), Refused("name")),
        attempt("the tags of the owner", limit, &and("tags: { \"engine:team\": red-foxes }"), Refused("engine:")),
        attempt(
            "an imported role without a limit",
            role,
            &format!("type: role\n    import: {HOSTS_ROLE}"),
            Denied("iam:PassRole"),
        ),
        attempt(
            "an imported role of another team",
            role,
            &format!("type: role\n    import: {THEIR_ROLE}"),
            Denied("iam:GetRole"),
        ),
        attempt("a role by ARN", &format!("  runner:\n    {role}\n"), "", Denied("iam:PassRole"))
            .and("role: ${runner.arn}", &format!("role: arn:aws:iam::123456789012:role/{HOSTS_ROLE}")),
        attempt("a role without a limit by name", limit, &format!("name: {HOSTS_ROLE}"), Denied("iam:PutRolePolicy")),
        attempt(
            "an adopted role without a limit",
            limit,
            &format!("name: {HOSTS_ROLE}\n    adopt: true\n    {everything}"),
            Denied("iam:PutRolePolicy"),
        ),
        attempt(
            "an adopted role for others",
            limit,
            &format!(
                "name: {HOSTS_ROLE}\n    adopt: true\n    trusted_services: [lambda.amazonaws.com, ec2.amazonaws.com]\n    \
                 derive_permissions: false"
            ),
            Denied("iam:UpdateAssumeRolePolicy"),
        ),
        attempt("no limit any more", &format!("\n    {limit}"), "", Denied("iam:DeleteRolePermissionsBoundary"))
            .later(),
        attempt("a weaker limit afterwards", LIMIT, ADMIN, Denied("iam:PutRolePermissionsBoundary")).later(),
        attempt("a replacement without a limit", &format!("\n    {limit}"), "", Denied("iam:CreateRole"))
            .later()
            .with(&["--replace", "runner"]),
        attempt("every permission", limit, &and(everything), Limited).later(),
        attempt("an administrator's policy", limit, &and(&format!("managed_policy_arns: [{ADMIN}]")), Limited).later(),
        attempt("another service", limit, &and("trusted_services: [lambda.amazonaws.com, ec2.amazonaws.com]"), Limited)
            .later(),
        attempt(
            "permission to change roles",
            limit,
            &and("statements: [{ actions: [\"iam:*\"], resources: [\"*\"] }]"),
            Limited,
        ),
    ]
}

/// Plays one attempt, and checks what the account has then.
fn play(attempt: &Escape) {
    let Escape { name, is_deployed, edits, args, end } = attempt;
    let project = Project::new(|text| hosts_spec(&text));
    let printed = project.command(&["policy", "--account", ACCOUNT, "--boundary", LIMIT]).run().expect(0, &[]);
    let policy: Json = serde_json::from_str(&printed.out).unwrap();
    let cloud = Cloud::start(World::empty());
    cloud.world(|world| {
        for name in [HOSTS_ROLE, THEIR_ROLE] {
            let mut role = Role::old("/");
            role.has_own_policies = true;
            world.roles.insert(name.to_owned(), role);
        }
        world.policies = Some([json!({}), json!({})]);
    });
    let refused = std::sync::Arc::default();
    cloud.watch(Some(Box::new(Enforcer { policy, refused: std::sync::Arc::clone(&refused) })));
    if *is_deployed {
        project.run(&cloud, &["apply", "--yes"]).expect(0, &[]);
        cloud.world(|world| *world = world.clone().aged());
    }
    let before: BTreeMap<String, Role> = cloud.world(|world| world.roles.clone());
    for (from, to) in edits {
        project.edit(from, to);
    }
    let ran = project.run(&cloud, &[&["apply", "--yes"], *args].concat());
    let said = flat(&format!("{}{}", ran.out, ran.err));
    let refused = refused.lock().unwrap();
    match end {
        Refused(words) => {
            assert!(ran.code() == Some(1) && said.contains(words) && refused.is_empty(), "{name}: {refused:?} {said}");
        }
        Denied(action) => {
            assert!(ran.code() != Some(0) && refused.iter().any(|it| it == action), "{name}: {refused:?} {said}");
        }
        Limited => assert_eq!(ran.code(), Some(0), "{name}: {refused:?} {said}"),
    }
    cloud.world(|world| {
        for (role, now) in &world.roles {
            let is_limited = now.boundary.as_deref() == Some(LIMIT);
            let grants =
                |role: &Role| (role.inline.clone(), role.attached.clone(), role.trust.clone(), role.boundary.clone());
            let is_unchanged = before.get(role).is_some_and(|before| grants(before) == grants(now));
            assert!(is_limited || is_unchanged, "{name}: `{role}` gained permissions: {now:#?}");
        }
        for (function, now) in &world.functions {
            let role = now.config["Role"].as_str().unwrap().rsplit('/').next().unwrap();
            assert_eq!(role, OWN_ROLE, "{name}: `{function}` runs with another role");
        }
    });
}

#[test]
fn a_team_gains_no_permission_through_its_own_spec() {
    let attempts = attempts();
    assert!(attempts.len() >= 15, "{}", attempts.len());
    std::thread::scope(|scope| {
        for attempt in &attempts {
            scope.spawn(move || play(attempt));
        }
    });
}

/// The policy is enough for the host's own spec, so the attempts fail for no other reason.
#[test]
fn the_policy_with_a_limit_covers_the_hosts_spec() {
    let deployed = Escape { name: "the host's spec", is_deployed: true, edits: Vec::new(), args: &[], end: Limited };
    play(&deployed);
}
