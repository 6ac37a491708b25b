//! What is wrong with `access` and `statements`, of a role or of a function that uses one.
//!
//! **Invariant:** a level or resource that passes here is granted as it is written.

use crate::iam::execution::levels;
use crate::schema::Problem;
use crate::spec::{ResourceDecl, Spec};
use crate::value::{Path, Tree, Value};

/// Errors in `statements`, and a warning where one allows everything.
pub(in crate::kinds) fn check_statements(desired: &Tree) -> Vec<Problem> {
    let Some(Value::List(statements)) = desired.get("statements") else { return Vec::new() };
    let mut problems = Vec::new();
    for (at, statement) in statements.iter().enumerate() {
        let Value::Map(statement) = statement else { continue };
        let has_any = |member: &str| statement.get(member).is_some_and(|value| levels(value).contains(&"*"));
        if has_any("actions") && has_any("resources") && statement.get("effect") != Some(&Value::String("Deny".into()))
        {
            let path = Path::property("statements").index(at);
            let problem = "this statement allows every action on every resource of the account";
            problems.push(Problem::warning(path, problem, "list the actions and resources that the code uses"));
        }
    }
    problems
}

/// Errors in `access`: unknown resources and levels.
pub(in crate::kinds) fn unknown_access(declared: &ResourceDecl, spec: &Spec) -> Vec<Problem> {
    let Some(Value::Map(access)) = declared.desired.get("access") else { return Vec::new() };
    let mut problems = Vec::new();
    for (name, granted) in access {
        let path = Path::property("access").key(name);
        let Some(target) = spec.resource(name) else {
            let known = spec.resources.iter().map(|it| it.name.as_str());
            let hint = match engine_core::diagnostic::nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "use the name of a resource of this spec; for anything else, add it to `statements`".to_owned(),
            };
            problems.push(Problem::error(path, format!("there is no resource `{name}` in this spec"), hint));
            continue;
        };
        let kind = &target.schema().kind;
        if target.schema().arn.is_none() {
            let problem = format!("`{name}` is a {kind}, and access to it can't be granted");
            problems.push(Problem::error(path, problem, "remove the line"));
            continue;
        }
        for word in levels(granted).into_iter().filter(|word| !word.contains(':')) {
            let levels: Vec<&str> = target.kind.access_levels().iter().map(|level| &*level.name).collect();
            if levels.contains(&word) {
                continue;
            }
            let problem = format!("`{word}` isn't an access level of a {kind}");
            let hint = match levels.is_empty() {
                true => format!("use IAM actions; a {kind} has no access levels"),
                false => format!(
                    "use {}, or an IAM action",
                    levels.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            problems.push(Problem::error(path.clone(), problem, hint));
        }
    }
    problems
}
