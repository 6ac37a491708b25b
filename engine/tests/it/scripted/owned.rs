//! Names without the team's prefix: what a spec's `owns:` allows, and every way that the program
//! offers to get past it.

use std::collections::BTreeMap;

use serde_json::json;

use super::server::{Cloud, Fault};
use super::world::{REGION, Reply, World};
use super::{Project, diff_is_empty, writes};

const HEAD: &str = "team: blue-owls\nregion: eu-central-1\n";
const KEYS: &str = "attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST";

type Tags = BTreeMap<String, String>;

fn tags(team: &str, stack: &str, resource: &str) -> Tags {
    let tags = [("engine:team", team), ("engine:stack", stack), ("engine:resource", resource)];
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn stack_tags() -> Tags {
    tags("blue-owls", "team", "orders")
}

/// A spec with this list, and a table with these properties.
fn spec(owns: &str, table: &str) -> String {
    format!("{HEAD}owns: {owns}\nresources:\n  orders: {{ type: table, {KEYS}, {table} }}\n")
}

fn empty(owns: &str) -> String {
    format!("{HEAD}owns: {owns}\nresources: {{}}\n")
}

/// An account with old tables.
fn account(tables: &[(&str, Tags)]) -> Cloud {
    let mut world = World::empty();
    for (name, tags) in tables {
        world.add_table(name, false, tags.clone());
    }
    Cloud::start(world)
}

/// The tables with their tags.
fn tables(cloud: &Cloud) -> Vec<(String, Tags)> {
    cloud.world(|world| world.tables.iter().map(|(name, table)| (name.clone(), table.tags.clone())).collect())
}

fn deny_tags(cloud: &Cloud) {
    let text = "User: X is not authorized to perform: dynamodb:ListTagsOfResource";
    cloud.always("ListTagsOfResource", Fault::Answer(Reply::dynamodb("AccessDeniedException", text)));
}

/// One way to reach a table that this stack must not write to.
struct WriteAttempt {
    what: &'static str,
    spec: String,
    args: &'static [&'static str],
    /// The tags of the table `Orders`.
    tags: Tags,
    are_tags_denied: bool,
    code: i32,
    message: &'static str,
}

fn attempt(
    what: &'static str,
    spec: String,
    args: &'static [&'static str],
    code: i32,
    message: &'static str,
) -> WriteAttempt {
    WriteAttempt { what, spec, args, tags: Tags::new(), are_tags_denied: false, code, message }
}

const APPLY: &[&str] = &["apply", "--yes", "--assume-owner", "--delete-data"];
const DESTROY: &[&str] = &["destroy", "--yes", "--assume-owner", "--delete-data"];
const BARE: &[&str] = &[
    "destroy",
    "--team",
    "blue-owls",
    "--stack",
    "team",
    "--region",
    REGION,
    "--yes",
    "--assume-owner",
    "--delete-data",
];

/// Errors in the spec or on the command line.
fn rejected() -> Vec<WriteAttempt> {
    let named = |owns: &str, name: &str| spec(owns, &format!("name: {name}, adopt: true"));
    let must = "must start with `blue-owls-`";
    vec![
        attempt(
            "no `owns`",
            format!("{HEAD}resources:\n  orders: {{ type: table, {KEYS}, name: Orders }}\n"),
            APPLY,
            1,
            must,
        ),
        attempt(
            "another case",
            named("[orders]", "Orders"),
            APPLY,
            1,
            "or make it and `orders` in `owns:` the same, case included",
        ),
        attempt("a prefix", named("[Order]", "Orders"), APPLY, 1, must),
        attempt("a suffix", named("[Orders]", "Orders-archive"), APPLY, 1, must),
        attempt("a part", named("[Orders]", "MyOrders"), APPLY, 1, must),
        attempt("a space", named("[\"Orders \"]", "Orders"), APPLY, 1, "not a valid name"),
        attempt("a look-alike", named("[\"\u{FF2F}rders\"]", "Orders"), APPLY, 1, "not a valid name"),
        attempt("an invisible character", named("[\"Or\\u200Bders\"]", "Orders"), APPLY, 1, "not a valid name"),
        attempt("a look-alike in the name", named("[Orders]", "\"\u{41E}rders\""), APPLY, 1, must),
        attempt("a wildcard", named("[\"*\"]", "Orders"), APPLY, 1, "exact names, without wildcards"),
        attempt(
            "a wildcard for one character",
            named("[\"Order?\"]", "Orders"),
            APPLY,
            1,
            "exact names, without wildcards",
        ),
        attempt(
            "a wildcard in a variable",
            format!("vars: {{ x: y }}\n{}", named("[\"${var.x}\"]", "Orders")),
            &["apply", "--yes", "--var", "x=*"],
            1,
            "exact names, without wildcards",
        ),
        attempt(
            "an ARN",
            named("[\"arn:aws:dynamodb:eu-west-1:210987654321:table/Orders\"]", "Orders"),
            APPLY,
            1,
            "`owns` lists names in this account and region",
        ),
        attempt("an alias", named("[\"Orders:live\"]", "Orders"), APPLY, 1, "not a valid name"),
        attempt("an alias in the name", named("[Orders]", "\"Orders:live\""), APPLY, 1, must),
        attempt("a rename", named("[Orders-archive]", "Orders").replace("  orders: {", "  archive: {"), APPLY, 1, must),
        attempt("a name by reference", named("[\"${orders.name}\"]", "Orders"), APPLY, 1, "`owns` can't contain"),
        attempt("no list", named("Orders", "Orders"), APPLY, 1, "`owns` must be a list"),
        attempt(
            "a role",
            format!(
                "{HEAD}owns: [Orders]\nresources:\n  r: {{ type: role, name: Orders, trusted_services: [lambda.amazonaws.com] }}\n"
            ),
            APPLY,
            1,
            "`owns` doesn't apply to a role",
        ),
        attempt(
            "another team",
            named("[Orders]", "Orders"),
            &["apply", "--yes", "--team", "red-foxes"],
            1,
            "`Orders` in `owns` must contain `${team}` for `--team`",
        ),
        attempt(
            "another team's destroy",
            named("[Orders]", "Orders"),
            &["destroy", "--yes", "--team", "red-foxes"],
            1,
            "`Orders` in `owns` must contain `${team}` for `--team`",
        ),
        attempt(
            "several teams",
            named("[Orders]", "Orders"),
            &["apply", "--yes", "--teams", "teams.txt"],
            1,
            "`Orders` in `owns` must contain `${team}` for `--team`",
        ),
    ]
}

/// Owners that the tags of the table show, and what depends on them.
fn refused() -> Vec<WriteAttempt> {
    let orders = || spec("[Orders]", "name: Orders, adopt: true");
    let with_tags = |tags: Tags, attempt: WriteAttempt| WriteAttempt { tags, ..attempt };
    let denied = |attempt: WriteAttempt| WriteAttempt { are_tags_denied: true, ..attempt };
    let cloudformation = Tags::from([("aws:cloudformation:stack-name".to_owned(), "shop".to_owned())]);
    let foxes = || tags("red-foxes", "team", "orders");
    let other = || tags("blue-owls", "other", "orders");
    let kept = "neither begins with `blue-owls` nor is in `owns`; to delete it, add its name to `owns`";
    let unproven = "so engine can't confirm that this stack owns it";
    vec![
        attempt("without consent", orders(), &["apply", "--assume-owner"], 1, "there is no terminal"),
        denied(attempt("unreadable tags", orders(), APPLY, 1, unproven)),
        denied(attempt("unreadable tags, on destroy", orders(), DESTROY, 1, unproven)),
        denied(attempt(
            "unreadable tags, on forget",
            orders(),
            &["forget", "orders"],
            1,
            "its owner can't be determined",
        )),
        with_tags(foxes(), attempt("another team's", orders(), APPLY, 1, "it belongs to team `red-foxes`")),
        with_tags(
            foxes(),
            attempt("another team's, on destroy", orders(), DESTROY, 1, "it belongs to team `red-foxes`"),
        ),
        with_tags(foxes(), attempt("another team's, on forget", orders(), &["forget", "orders"], 1, "`red-foxes`")),
        with_tags(other(), attempt("another stack's", orders(), APPLY, 1, "stack `other`")),
        with_tags(cloudformation, attempt("CloudFormation's", orders(), APPLY, 1, "CloudFormation stack `shop`")),
        attempt("untagged, on destroy", orders(), DESTROY, 0, "skipped: it has no engine tags"),
        attempt(
            "replaced",
            orders(),
            &["apply", "--yes", "--replace", "orders"],
            1,
            "only replaces resources that this stack owns",
        ),
        with_tags(
            stack_tags(),
            attempt(
                "imported",
                spec("[Orders]", "import: Orders").replace(KEYS, "").replace(", ,", ","),
                APPLY,
                0,
                "No changes.",
            ),
        ),
        with_tags(
            stack_tags(),
            attempt(
                "imported, on destroy",
                spec("[Orders]", "import: Orders").replace(KEYS, "").replace(", ,", ","),
                DESTROY,
                0,
                "No changes.",
            ),
        ),
        with_tags(stack_tags(), attempt("an orphan outside of `owns`", empty("[]"), APPLY, 0, kept)),
        with_tags(
            stack_tags(),
            attempt("an orphan with an entry in another case", empty("[orders]"), DESTROY, 0, kept),
        ),
        with_tags(stack_tags(), attempt("an orphan without a spec", empty("[]"), BARE, 0, kept)),
        with_tags(
            stack_tags(),
            attempt("an orphan, on forget", empty("[]"), &["forget", "orders"], 1, forget_refusal()),
        ),
        with_tags(foxes(), attempt("another team's, listed", empty("[Orders]"), DESTROY, 0, "No changes.")),
        attempt("an untagged one, listed", empty("[Orders]"), APPLY, 0, "No changes."),
        attempt("an untagged one, listed, on destroy", empty("[Orders]"), DESTROY, 0, "skipped: it has no engine tags"),
        denied(with_tags(
            stack_tags(),
            attempt(
                "an orphan with unreadable tags",
                empty("[Orders]"),
                APPLY,
                0,
                "you lack permission to read its tags",
            ),
        )),
    ]
}

fn forget_refusal() -> &'static str {
    "its name neither begins with `blue-owls` nor is in `owns`, so this team doesn't own it"
}

#[test]
fn no_command_gets_past_the_names_in_owns() {
    let attempts: Vec<WriteAttempt> = rejected().into_iter().chain(refused()).collect();
    assert!(attempts.len() >= 30, "{}", attempts.len());
    for WriteAttempt { what, spec, args, tags, are_tags_denied, code, message } in attempts {
        let cloud = account(&[("Orders", tags), ("orders", Tags::new()), ("Orders-archive", Tags::new())]);
        if are_tags_denied {
            deny_tags(&cloud);
        }
        let project = Project::usual();
        project.spec(&spec);
        std::fs::write(project.path("teams.txt"), "red-foxes\ngreen-bears\n").unwrap();
        let before = tables(&cloud);
        let ran = project.run(&cloud, args);
        assert_eq!(ran.code(), Some(code), "{what}: {}\n{}", ran.out, ran.err);
        let said = format!("{} {}", ran.out, ran.err).replace(" # ", " ");
        let said = said.split_whitespace().filter(|word| !["#", "|", "="].contains(word)).collect::<Vec<_>>().join(" ");
        assert!(said.contains(message), "{what}: `{message}` is not in {said}");
        assert_eq!(writes(&cloud), [""; 0], "{what}");
        assert_eq!(tables(&cloud), before, "{what}");
    }
}

#[test]
fn a_table_in_owns_is_adopted_changed_replaced_and_deleted() {
    let cloud = account(&[("Orders", Tags::new()), ("orders", Tags::new())]);
    let project = Project::usual();
    project.spec(&spec("[Orders]", "name: Orders, adopt: true"));
    let asked = project.run(&cloud, &["apply"]);
    asked.ends_with(1).says("= orders (table Orders) will be adopted").complains("`adopt` has no effect on `orders`");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 adopted");
    assert_eq!(writes(&cloud), ["TagTable"]);
    diff_is_empty(&project, &cloud);
    project.spec(&spec("[Orders]", "name: Orders, tags: { course: cloud }"));
    project.run(&cloud, &["apply"]).ends_with(0).says("1 changed");
    let replaced = spec("[Orders]", "name: Orders")
        .replace("attributes: { id: S }, hash_key: id", "attributes: { no: S }, hash_key: no");
    project.spec(&replaced);
    project
        .run(&cloud, &["apply", "--yes", "--replace", "orders"])
        .ends_with(0)
        .says("1 added, 0 changed, 1 destroyed");
    // As an orphan it is deleted as long as its name is listed, also if the index can't be read.
    cloud.world(|world| *world = world.clone().aged());
    project.spec(&empty("[Orders]"));
    let text = "User: X is not authorized to perform: tag:GetResources";
    cloud.always("GetResources", Fault::Answer(Reply::of("GetResources", 400, "AccessDeniedException", text)));
    project
        .run(&cloud, &["apply", "--yes"])
        .ends_with(0)
        .says("- orders (table Orders) will be destroyed")
        .says("1 destroyed");
    assert_eq!(tables(&cloud), [("orders".to_owned(), Tags::new())]);
}

#[test]
fn each_team_has_its_own_names() {
    let cloud = account(&[]);
    let project = Project::usual();
    project.spec(&spec("[\"${team}Orders\"]", "name: \"${team}Orders\""));
    std::fs::write(project.path("teams.txt"), "blue-owls\nred-foxes\n").unwrap();
    project.run(&cloud, &["apply", "--teams", "teams.txt"]).ends_with(0);
    let names: Vec<String> = tables(&cloud).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["blue-owlsOrders", "red-foxesOrders"]);
    project.run(&cloud, &["destroy", "--yes", "--team", "red-foxes"]).ends_with(0).says("1 destroyed");
    assert_eq!(tables(&cloud), [("blue-owlsOrders".to_owned(), stack_tags())]);
}

#[test]
fn a_function_in_owns_has_its_mapping_its_permission_and_its_log_group() {
    let cloud = Cloud::start(World::empty());
    let project = Project::new(|text| {
        let text = text.replace("team: blue-owls", "owns: [Logger, /aws/lambda/Logger]\nteam: blue-owls");
        text.replace("    type: function\n", "    type: function\n    name: Logger\n    log_retention_in_days: 14\n")
    });
    project.run(&cloud, &["apply"]).ends_with(0).says("5 added");
    diff_is_empty(&project, &cloud);
    let groups = |cloud: &Cloud| cloud.world(|world| world.log_groups.keys().cloned().collect::<Vec<_>>());
    assert_eq!(groups(&cloud), ["/aws/lambda/Logger"]);
    // What is no longer in the spec is found on the function, whose name is listed.
    let text = std::fs::read_to_string(project.path("specs/team.yaml")).unwrap();
    project.spec(&super::pruning::without_mapping(&text));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("1 destroyed");
    assert_eq!(cloud.world(|world| world.mappings.len()), 0);
    // The tag index may not list log groups, and a listed name is found without it.
    cloud.world(|world| world.index.blind = true);
    project.edit("    log_retention_in_days: 14\n", "");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0).says("(log_group /aws/lambda/Logger) will be destroyed");
    assert_eq!(groups(&cloud), [""; 0]);
    project.run(&cloud, &["destroy", "--yes"]).ends_with(0).says("Resources: 3 destroyed.");
    assert!(cloud.world(|world| world.functions.is_empty() && world.log_groups.is_empty()));
}

#[test]
fn a_mapping_of_a_function_with_a_listed_name_and_another_owner_is_kept() {
    let stream = "arn:aws:dynamodb:eu-central-1:123456789012:table/x/stream/1";
    for (owns, why) in
        [("[Sync]", "belongs to team `red-foxes`"), ("[]", "neither begins with `blue-owls` nor is in `owns`")]
    {
        let mut world = World::empty();
        world.add_function("Sync", tags("red-foxes", "team", "sync"));
        world.add_mapping("Sync", stream, tags("blue-owls", "team", "feed"));
        world.index.mappings = true;
        let cloud = Cloud::start(world);
        let project = Project::usual();
        project.spec(&empty(owns));
        for args in [APPLY, DESTROY] {
            project.run(&cloud, args).ends_with(0).says(why);
        }
        assert_eq!(writes(&cloud), [""; 0]);
        assert_eq!(cloud.world(|world| world.mappings.len()), 1);
    }
}

#[test]
fn the_list_of_what_a_stack_owns_includes_names_without_the_prefix() {
    let cloud = account(&[("Orders", stack_tags()), ("Other", tags("blue-owls", "team", "other"))]);
    let project = Project::usual();
    project.spec(&spec("[Orders]", "name: Orders"));
    let listed: serde_json::Value =
        serde_json::from_str(&project.run(&cloud, &["list", "--format", "json"]).ends_with(0).out).unwrap();
    let names: Vec<&serde_json::Value> =
        listed["resources"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
    assert_eq!(json!(names), json!(["Orders", "Other"]), "{listed:#}");
    project.run(&cloud, &["forget", "orders"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UntagTable"]);
    assert_eq!(tables(&cloud)[0].1, Tags::new());
}
