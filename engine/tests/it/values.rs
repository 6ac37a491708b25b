//! Where the values of a spec come from: variables and other placeholders. Everything here is
//! offline: a spec in, its declarations or its errors out.

use std::path::Path;

use engine::diagnostic::{self, Style};
use engine::render::remedy;
use engine::sanitize::{self, Reader};
use engine::spec::{Depth, Spec, SpecOverrides};
use insta::assert_snapshot;
use serde_json::{Value as Json, json};

/// A function that needs nothing else, whose further properties follow.
const FUNCTION: &str = "
    type: function
    runtime: nodejs22.x
    handler: index.handler
    role: arn:aws:iam::123456789012:role/runner
    code: { inline: \"exports.handler = async () => {};\" }
";

fn parse(text: &str, overrides: &SpecOverrides) -> Result<Spec, String> {
    Spec::parse(&engine::kinds::all(), Path::new("team.yaml"), text.as_bytes(), overrides, Depth::Full)
        .map_err(|problems| diagnostic::render(&remedy::worded(&problems), Style::Plain, 100))
}

fn with_vars(vars: &[(&str, &str)]) -> SpecOverrides {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SpecOverrides { vars: vars.collect(), ..SpecOverrides::default() }
}

/// A property of a resource as JSON.
fn property(spec: &Spec, resource: &str, name: &str) -> Json {
    Json::from(&spec.resource(resource).unwrap().desired[name])
}

#[test]
fn a_placeholder_alone_keeps_the_type_of_its_value() {
    let spec = format!(
        "team: owls
region: eu-west-1
vars:
  memory: 256
  is_on: true
  subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
  network: {{ groups: [sg-0123456789abcdef0], deep: {{ name: x }} }}
  none: ~
  both: {{ AA: \"${{var.memory}}\", BB: \"${{team}}-${{var.network.deep.name}}\" }}
resources:
  logger:{FUNCTION}    memory_size: ${{var.memory}}
    vpc:
      subnet_ids: ${{var.subnets}}
      security_group_ids: ${{var.network.groups}}
    description: ${{var.none}}
    environment: ${{var.both}}
    layers: [\"arn:${{partition}}:lambda:${{region}}:123456789012:layer:x:1\", \"${{var.none}}\"]
    tags: {{ is-on: \"${{var.is_on}}\", size: \"${{var.memory}} MB\" }}
"
    );
    let spec = parse(&spec, &SpecOverrides::default()).unwrap();
    let seen = |name| property(&spec, "logger", name);
    assert_eq!(seen("memory_size"), json!(256));
    assert_eq!(seen("vpc")["subnet_ids"], json!(["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]));
    assert_eq!(seen("vpc")["security_group_ids"], json!(["sg-0123456789abcdef0"]));
    assert_eq!(seen("description"), json!(""));
    assert_eq!(seen("environment"), json!({ "AA": "256", "BB": "owls-x" }));
    assert_eq!(seen("layers"), json!(["arn:aws:lambda:eu-west-1:123456789012:layer:x:1"]));
    assert_eq!(seen("tags"), json!({ "is-on": "true", "size": "256 MB" }));
}

#[test]
fn placeholders_are_replaced_inside_references_and_in_the_keys_of_access_and_events() {
    let spec = format!(
        "team: owls
vars: {{ which: todos, other: {{ todos: news }} }}
resources:
  todos: {{ type: table, attributes: {{ id: S }}, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }}
  news: {{ type: table, attributes: {{ id: S }}, hash_key: id, billing_mode: PAY_PER_REQUEST }}
  logger:{}    environment: {{ TABLE: \"${{${{var.which}}.name}}\", OTHER: \"${{var.other.${{var.which}}}}\" }}
    access: {{ \"${{var.which}}\": read }}
    events: {{ \"${{var.which}}\": {{ starting_position: LATEST }} }}
    depends_on: [\"${{var.other.todos}}\"]
",
        FUNCTION.replace("    role: arn:aws:iam::123456789012:role/runner\n", "")
    );
    let spec = parse(&spec, &SpecOverrides::default()).unwrap();
    let names: Vec<&str> = spec.resources.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"todos-to-logger"), "{names:?}");
    let environment = &spec.resource("logger").unwrap().desired["environment"];
    assert_snapshot!(format!("{environment:?}").contains("resource: \"todos\""), @"true");
}

#[test]
fn a_text_from_the_command_line_takes_the_type_that_is_wanted() {
    let spec = format!(
        "team: owls
vars: {{ memory: 128, subnets: [], json: ~ }}
resources:
  logger:{FUNCTION}    memory_size: ${{var.memory}}
    vpc: {{ subnet_ids: \"${{var.subnets}}\", security_group_ids: [sg-0123456789abcdef0] }}
    environment: {{ JSON: \"${{var.json}}\", LITERAL: \"${{var.literal}}\" }}
    tags: ${{var.tags}}
"
    );
    let given = [
        ("memory", "512"),
        ("subnets", r#"["subnet-0123456789abcdef0"]"#),
        ("json", r#"{"a": [1]}"#),
        ("tags", r#"{"tier": "web"}"#),
        ("literal", "${team} and ${todos.arn}"),
    ];
    let loaded = parse(&spec, &with_vars(&given)).unwrap();
    let seen = |name| property(&loaded, "logger", name);
    assert_eq!(seen("memory_size"), json!(512));
    assert_eq!(seen("vpc")["subnet_ids"], json!(["subnet-0123456789abcdef0"]));
    assert_eq!(seen("environment"), json!({ "JSON": r#"{"a": [1]}"#, "LITERAL": "${team} and ${todos.arn}" }));
    assert_eq!(seen("tags"), json!({ "tier": "web" }));
    let wrong = [("memory", "lots"), ("subnets", "subnet-1"), ("json", "~"), ("tags", "{}"), ("literal", "")];
    assert_snapshot!(parse(&spec, &with_vars(&wrong)).unwrap_err());
}

#[test]
fn a_variable_without_a_value_is_one_error_that_names_its_uses() {
    let spec = "team: owls
resources: {}
outputs:
  a: ${var.x}
  b: \"${var.x} ${var.y}\"
  c: ${var.x}
";
    assert_snapshot!(parse(spec, &SpecOverrides::default()).unwrap_err());
}

/// A table that needs nothing else, on one line.
const TABLE: &str = "type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST";

/// A spec in a folder with other files.
fn load(files: &[(&str, &str)], overrides: &SpecOverrides) -> Result<Spec, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = |name: &std::path::PathBuf| folder.path().join(name);
    let var_files = overrides.var_files.iter().map(path).collect();
    let overrides = SpecOverrides { var_files, ..overrides.clone() };
    let loaded = Spec::load(&engine::kinds::all(), &folder.path().join("team.yaml"), &overrides, Depth::Full);
    loaded.map_err(|problems| {
        let folder = format!("{}/", folder.path().display());
        diagnostic::render(&remedy::worded(&problems), Style::Plain, 100).replace(&folder, "")
    })
}

fn at_stage(stage: &str) -> SpecOverrides {
    SpecOverrides { stage: Some(stage.to_owned()), ..SpecOverrides::default() }
}

/// All resources with their names in AWS, and what implies them.
fn names(spec: &Spec) -> String {
    let line = |it: &engine::spec::ResourceDecl| {
        let by = it.implied_by.as_ref().map_or_else(String::new, |by| format!(" (implied by {by})"));
        format!("{} = {}{by}", it.name, it.id.name)
    };
    spec.resources.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_stage_is_a_stack_of_its_own_with_its_own_names_and_values() {
    let text = format!(
        "team: owls
region: eu-central-1
stages:
  dev: {{ days: 7 }}
  prod: {{ days: 365, region: eu-west-1, account: \"123456789012\" }}
vars: {{ days: 1 }}
resources:
  todos: {{ {TABLE} }}
  logger:{}    log_retention_in_days: ${{var.days}}
    environment: {{ STAGE: \"${{stage}}\" }}
",
        FUNCTION.replace("    role: arn:aws:iam::123456789012:role/runner\n", "")
    );
    let seen = |overrides: &SpecOverrides| {
        let spec = parse(&text, overrides).unwrap();
        let days = property(&spec, "logger-logs", "retention_in_days");
        let stage = property(&spec, "logger", "environment");
        let (stack, region, account) = (&spec.stack, &spec.region, &spec.account);
        format!("{stack} {region:?} {account:?} days={days} {stage}\n{}", names(&spec))
    };
    assert_snapshot!(seen(&at_stage("dev")));
    assert_snapshot!(seen(&at_stage("prod")));
    // Without a choice, the local AWS has the stage `local`, if there is one.
    let local = SpecOverrides { is_local: true, ..SpecOverrides::default() };
    assert!(parse(&text, &local).unwrap_err().contains("none is chosen"));
    let with_local = text.replace("  dev: {", "  local: { days: 3 }\n  dev: {");
    assert_eq!(parse(&with_local, &local).unwrap().stack, "team@local");
    let from_env = SpecOverrides { usual_stage: Some("dev".to_owned()), ..local };
    assert_eq!(parse(&with_local, &from_env).unwrap().stack, "team@dev");
    assert_snapshot!(parse(&text, &at_stage("prdo")).unwrap_err());
    let unknown = text.replace("days: 365,", "dys: 365,");
    assert_snapshot!(parse(&unknown, &at_stage("dev")).unwrap_err());
    assert_snapshot!(parse("team: owls\nresources: {}\n", &at_stage("dev")).unwrap_err());
}

#[test]
fn a_later_source_of_a_variable_replaces_its_whole_value() {
    let text = "team: owls
stages: { dev: { x: stage } }
vars: { x: vars }
resources: {}
outputs: { x: \"${var.x}\" }
";
    let mut overrides = at_stage("dev");
    let seen = |overrides: &SpecOverrides| {
        let files = [("team.yaml", text), ("a.yaml", "x: first file"), ("b.json", r#"{"x": "second ${file}"}"#)];
        format!("{:?}", load(&files, overrides).unwrap().outputs[0].1)
    };
    assert_eq!(seen(&overrides), r#"String("stage")"#);
    overrides.env.insert("x".to_owned(), "env".to_owned());
    assert_eq!(seen(&overrides), r#"String("env")"#);
    overrides.var_files.push("a.yaml".into());
    assert_eq!(seen(&overrides), r#"String("first file")"#);
    overrides.var_files.push("b.json".into());
    assert_eq!(seen(&overrides), r#"String("second ${file}")"#);
    overrides.vars.insert("x".to_owned(), "flag".to_owned());
    assert_eq!(seen(&overrides), r#"String("flag")"#);
}

#[test]
fn errors_in_a_file_of_variables_are_shown_without_its_values() {
    let spec = format!(
        "team: owls
vars: {{ memory: 128, name: ~ }}
resources:
  logger:{FUNCTION}    memory_size: ${{var.memory}}
    description: ${{var.name}}
"
    );
    let mut all = String::new();
    for (what, file) in [
        ("wrong type", "memory: hush-lots"),
        ("list", "memory: [hush]"),
        ("unknown", "memroy: 128"),
        ("duplicate", "memory: 128\nmemory: 256"),
        ("anchor", "memory: &a 128\nname: *a"),
        ("list at the top", "- hush"),
        ("a spec", "team: owls\nresources: {}"),
        ("no yaml", "memory: [128"),
    ] {
        let overrides = SpecOverrides { var_files: vec!["values.yaml".into()], ..SpecOverrides::default() };
        let said = load(&[("team.yaml", &spec), ("values.yaml", file)], &overrides).unwrap_err();
        assert!(!said.contains("hush"), "{said}");
        all += &format!("# {what}\n{said}\n");
    }
    let missing = SpecOverrides { var_files: vec!["nowhere.yaml".into()], ..SpecOverrides::default() };
    all += &load(&[("team.yaml", &spec)], &missing).unwrap_err();
    assert_snapshot!(all);
}

#[test]
fn a_repeated_resource_is_one_resource_per_key_and_can_be_named_as_a_whole() {
    let function = FUNCTION.replace("    role: arn:aws:iam::123456789012:role/runner\n", "");
    let text = format!(
        "team: owls
vars: {{ keys: [orders, users] }}
resources:
  store: {{ for_each: \"${{var.keys}}\", stream_view_type: KEYS_ONLY, {TABLE} }}
  worker:{function}    for_each: {{ orders: {{ size: 10 }}, users: {{ size: 100 }} }}
    environment: {{ TABLE: \"${{store-${{each.key}}.name}}\" }}
    events: {{ \"store-${{each.key}}\": {{ starting_position: LATEST, batch_size: \"${{each.value.size}}\" }} }}
  report:{function}    access: {{ store: read }}
    depends_on: [worker]
"
    );
    let spec = parse(&text, &SpecOverrides::default()).unwrap();
    assert_snapshot!(names(&spec));
    let sizes = ["store-orders-to-worker-orders", "store-users-to-worker-users"];
    assert_eq!(sizes.map(|name| property(&spec, name, "batch_size")), [json!(10), json!(100)]);
    let access = property(&spec, "report", "access");
    assert_eq!(access, json!({ "store-orders": "read", "store-users": "read" }));
}

#[test]
fn what_when_leaves_out_is_left_out_of_dependencies_and_outputs() {
    let text = format!(
        "team: owls
stages: {{ dev: {{}}, prod: {{}} }}
resources:
  todos: {{ {TABLE} }}
  audit: {{ when: {{ stage: [prod] }}, {TABLE} }}
  news: {{ depends_on: [audit], {TABLE} }}
outputs: {{ audit: \"${{audit.arn}}\", todos: \"${{todos.arn}}\" }}
"
    );
    let prod = parse(&text, &at_stage("prod")).unwrap();
    assert!(prod.resource("audit").is_some() && prod.outputs.len() == 2);
    let dev = parse(&text, &at_stage("dev")).unwrap();
    assert!(dev.resource("audit").is_none() && dev.outputs.len() == 1);
    assert_eq!(dev.absent["audit"], "`stage` is not one of the values in its `when`");
}

#[test]
fn defaults_and_tags_complete_each_resource_that_can_take_them() {
    let function = FUNCTION.replace("    role: arn:aws:iam::123456789012:role/runner\n", "");
    let text = format!(
        "team: owls
vars: {{ boundary: ~ }}
tags: {{ app: shop, tier: all }}
defaults:
  function: {{ memory_size: 512, environment: {{ STAGE: x, LEVEL: info }}, log_retention_in_days: 7 }}
  mapping: {{ starting_position: LATEST, maximum_retry_attempts: 3 }}
  role: {{ permissions_boundary: \"${{var.boundary}}\", description: for engine }}
  table: {{ tags: {{ tier: data }} }}
resources:
  todos: {{ stream_view_type: KEYS_ONLY, {TABLE} }}
  jobs: {{ type: queue, visibility_timeout_seconds: 60 }}
  logger:{function}    environment: {{ LEVEL: debug, STAGE: ~ }}
    events: {{ todos: {{ maximum_retry_attempts: 5 }}, jobs: {{}} }}
    tags: {{ tier: web }}
  other:{function}    memory_size: ~
    log_group: /aws/lambda/owls-shared
    log_retention_in_days: ~
  theirs: {{ type: role, import: shared-runner }}
"
    );
    let spec = parse(&text, &SpecOverrides::default()).unwrap();
    let seen = |resource, names: &[&str]| {
        let values = names.iter().map(|name| format!("{name}={}", property(&spec, resource, name)));
        format!("{resource}: {}", values.collect::<Vec<_>>().join(" "))
    };
    let all = [
        names(&spec),
        seen("todos", &["tags"]),
        seen("logger", &["memory_size", "environment", "tags"]),
        seen("other", &["memory_size", "environment", "tags"]),
        seen("todos-to-logger", &["starting_position", "maximum_retry_attempts", "tags"]),
        seen("jobs-to-logger", &["starting_position", "maximum_retry_attempts"]),
        seen("logger-role", &["description", "permissions_boundary", "tags"]),
    ];
    assert_snapshot!(all.join("\n"));
    let wrong = text
        .replace("memory_size: 512", "memory_size: \"${var.size}\"")
        .replace("boundary: ~", "boundary: nonsense, size: 5");
    assert_snapshot!(parse(&wrong, &SpecOverrides::default()).unwrap_err());
}

/// For each property that a resource can't take because of what it is or sets itself: the type, the
/// property with a value, what the resource sets, and other resources.
const INAPPLICABLE: [(&str, &str, &str, &str); 20] = [
    ("mapping", "maximum_batching_window_in_seconds: 5", FROM_FIFO, QUEUES),
    ("mapping", "maximum_retry_attempts: 5", FROM_FIFO, QUEUES),
    ("mapping", "starting_position_timestamp: \"2026-01-31T08:00:00Z\"", FROM_TABLE, QUEUES),
    ("queue", "content_based_deduplication: true", "fifo_queue: false", ""),
    ("queue", "content_based_deduplication: true", "", ""),
    ("queue", KEY, "sqs_managed_sse_enabled: true", ""),
    ("queue", "sqs_managed_sse_enabled: true", KEY, ""),
    ("table", "read_capacity: 5", ON_DEMAND, ""),
    ("table", "write_capacity: 5", ON_DEMAND, ""),
    ("table", "on_demand_throughput: { max_read_request_units: 5 }", PROVISIONED, ""),
    ("table", "recovery_period_in_days: 7", RECOVERY_OFF, ""),
    ("function", STATEMENTS, IMPORTED_ROLE, ""),
    ("function", "build: \"npm run build\"", IMPORTED_ROLE, ""),
    ("function", SIGNED, IMPORTED_ROLE, ""),
    ("function", "application_log_level: DEBUG", TEXT_LOG, ""),
    ("function", "system_log_level: DEBUG", TEXT_LOG, ""),
    ("role", "trusted_services: [lambda.amazonaws.com]", TRUST, ""),
    ("role", TRUST, "trusted_services: [lambda.amazonaws.com]", ""),
    ("permission", "function_url_auth_type: AWS_IAM", PERMISSION, QUEUES),
    ("log_group", "retention_in_days: 7", "name: owls-x, log_group_class: DELIVERY", ""),
];
const KEY: &str = "kms_key_arn: \"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab\"";
const ON_DEMAND: &str = "attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST";
const PROVISIONED: &str = "attributes: { id: S }, hash_key: id, read_capacity: 1, write_capacity: 1";
const RECOVERY_OFF: &str =
    "attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, point_in_time_recovery: false";
const STATEMENTS: &str = "statements: [{ effect: Allow, actions: [\"s3:GetObject\"], resources: [\"*\"] }]";
const IMPORTED_ROLE: &str = "runtime: nodejs22.x, handler: index.handler, \
    role: \"arn:aws:iam::123456789012:role/runner\", code: { inline: \"exports.handler = async () => {};\" }";
const TEXT_LOG: &str = "runtime: nodejs22.x, handler: index.handler, log_format: Text, \
    role: \"arn:aws:iam::123456789012:role/runner\", code: { inline: \"exports.handler = async () => {};\" }";
const SIGNED: &str =
    "code_signing_config_arn: \"arn:aws:lambda:eu-west-1:123456789012:code-signing-config:csc-0123456789abcdef0\"";
const TRUST: &str = "assume_role_policy: { Version: \"2012-10-17\", Statement: [{ Effect: Allow, \
    Principal: { Service: lambda.amazonaws.com }, Action: \"sts:AssumeRole\" }] }";
const FROM_FIFO: &str = "function: \"${worker.arn}\", event_source_arn: \"${jobs.arn}\"";
const FROM_TABLE: &str =
    "function: \"${worker.arn}\", event_source_arn: \"${todos.stream_arn}\", starting_position: LATEST";
const PERMISSION: &str = "function: \"${worker.arn}\", action: \"lambda:InvokeFunction\", principal: \"123456789012\"";
const QUEUES: &str = "
  jobs: { type: queue, fifo_queue: true, visibility_timeout_seconds: 60 }
  todos: { type: table, attributes: { id: S }, hash_key: id, billing_mode: PAY_PER_REQUEST, stream_view_type: KEYS_ONLY }
  worker: { type: function, runtime: nodejs22.x, handler: index.handler, code: { inline: \"exports.handler = async () => {};\" } }";

#[test]
fn a_default_that_a_resource_cannot_take_is_skipped_and_a_written_one_is_an_error() {
    let at = SpecOverrides::default();
    let spec = |default: &str, kind: &str, own: &str, others: &str| {
        let defaults =
            if default.is_empty() { String::new() } else { format!("defaults: {{ {kind}: {{ {default} }} }}\n") };
        let own = if own.is_empty() { String::new() } else { format!(", {own}") };
        format!("team: owls\nregion: eu-west-1\n{defaults}resources:\n  it: {{ type: {kind}{own} }}{others}\n")
    };
    for (kind, property, own, others) in INAPPLICABLE {
        let plain = parse(&spec("", kind, own, others), &at).unwrap_or_else(|said| panic!("{own}:\n{said}"));
        let text = spec(property, kind, own, others);
        let skipped = parse(&text, &at).unwrap_or_else(|said| panic!("{property}:\n{said}"));
        let of = |spec: &Spec| spec.resource("it").map(|it| (it.desired.clone(), it.explicit.clone()));
        assert_eq!(of(&skipped), of(&plain), "{text}");
        let written = if own.is_empty() { property.to_owned() } else { format!("{own}, {property}") };
        let said = parse(&spec("", kind, &written, others), &at).expect_err(property);
        assert_eq!(said.matches("error: ").count(), 1, "{property}:\n{said}");
        // Two defaults that exclude each other are wrong, whatever a resource sets.
        let said = parse(&spec(&written, kind, "", others), &at);
        let is_error = said.as_ref().is_err_and(|said| said.contains(property.split(':').next().unwrap()));
        let has_cause = !own.is_empty() && own != PROVISIONED && kind != "mapping";
        assert!(is_error || !has_cause, "{written}:\n{said:?}");
    }
    // Without the position that a table's stream doesn't have, there is none.
    let text = spec(
        "starting_position: AT_TIMESTAMP",
        "mapping",
        &FROM_TABLE.replace(", starting_position: LATEST", ""),
        QUEUES,
    );
    let said = parse(&text, &at).err().unwrap_or_default();
    assert!(said.contains("`it` is missing `starting_position`") && !said.contains("AT_TIMESTAMP`"), "{said}");
}

#[test]
fn a_spec_completes_the_file_that_it_extends() {
    let base = "team: owls
region: eu-west-1
stages: { dev: { days: 7, size: 1 } }
vars: { a: base, b: base }
tags: { app: shop }
defaults: { table: { tags: { tier: data, owner: base } } }
";
    let text = format!(
        "extends: common.yaml
region: eu-central-1
stages: {{ dev: {{ days: 30 }}, prod: {{ days: 365, size: 2 }} }}
vars: {{ b: own }}
defaults: {{ table: {{ tags: {{ owner: ~, kind: x }} }} }}
resources:
  todos: {{ {TABLE} }}
outputs: {{ all: \"${{var.a}} ${{var.b}} ${{var.days}} ${{var.size}} ${{region}}\" }}
"
    );
    let loaded = load(&[("team.yaml", &text), ("common.yaml", base)], &at_stage("dev")).unwrap();
    assert_snapshot!(format!("{:?} {}", loaded.outputs[0].1, property(&loaded, "todos", "tags")));
    let broken = [
        base.replace("days: 7, size: 1", "days: 7, size: 1, sise: 3"),
        base.replace("vars: {", "resources: {}\nvars: {"),
        base.replace("tags: { app: shop }", "tags: { app: shop"),
        base.replace("vars: { a: base", "vars: { a: [base]"),
        String::new(),
    ];
    let mut all = String::new();
    for base in broken {
        all += &load(&[("team.yaml", &text), ("common.yaml", &base)], &at_stage("dev")).unwrap_err();
        all += "\n";
    }
    assert_snapshot!(all);
}

#[test]
fn a_variable_that_only_the_extended_file_uses_is_set_from_outside() {
    let base = "defaults: { table: { tags: { owner: \"${var.owner}\", size: \"${var.size.of}\" } } }\n";
    let text = format!("extends: common.yaml\nteam: owls\nresources:\n  todos: {{ {TABLE} }}\n");
    let files = [("team.yaml", text.as_str()), ("common.yaml", base)];
    let values = [("owner", "me"), ("size", "{\"of\": \"large\"}")];
    let flags = with_vars(&values);
    let environment = SpecOverrides { env: flags.vars.clone(), ..SpecOverrides::default() };
    for overrides in [flags, environment] {
        let spec = load(&files, &overrides).unwrap();
        assert_eq!(property(&spec, "todos", "tags"), json!({ "owner": "me", "size": "large" }));
    }
    // The environment can contain variables of other specs.
    let other = SpecOverrides { env: with_vars(&[("owners", "x")]).vars, ..SpecOverrides::default() };
    let missing = load(&files, &other).unwrap_err();
    assert!(missing.contains("the variable `owner` has no value"), "{missing}");
}

/// What a plan follows from.
fn meaning(spec: &Spec) -> String {
    let mut resources: Vec<_> = spec.resources.iter().collect();
    resources.sort_by(|a, b| a.name.cmp(&b.name));
    let mut all = format!(
        "{} {} {:?} {:?} {:?} {:?}\n",
        spec.team, spec.stack, spec.region, spec.account, spec.owns, spec.outputs
    );
    // What only implies another resource is that resource instead.
    let implies = ["events", "log_retention_in_days"];
    for it in resources {
        let desired: Vec<_> = it.desired.iter().filter(|(name, _)| !implies.contains(&name.as_str())).collect();
        all += &format!(
            "{} {} {} {:?} {:?} {:?} {:?}\n",
            it.name,
            it.schema().kind,
            it.id.name,
            it.id.parents,
            it.imported,
            it.lifecycle,
            desired
        );
    }
    all
}

/// Texts that YAML, a terminal or a CI runner could take for something else.
fn any_text() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let piece = prop_oneof![
        4 => "[0-9]{1,3}(_{0,2}[0-9]{0,3}){0,2}",
        2 => "[a-z ]{0,4}",
        4 => prop::sample::select(vec![
            "\u{200b}", "\u{2028}", "\u{e0001}", "\u{7f}", "\u{85}", "\u{feff}", "\n", "\t", "\r", "\\", "\"", "'", "#", ": ",
            "::", "##[x]", "\u{201c}", "- ", "~", "null", "true", ".inf", "QUOTED", "QUOTED0.", "99999999999999999999",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn any_spec() -> impl proptest::strategy::Strategy<Value = (String, Option<String>)> {
    use proptest::prelude::*;
    let without_role = FUNCTION.replace("    role: arn:aws:iam::123456789012:role/runner\n", "");
    let parts = [
        "  todos: { stream_view_type: KEYS_ONLY, attributes: { id: S }, hash_key: id, type: table }\n".to_owned(),
        "  store: { for_each: [a, b], type: table, attributes: { id: S }, hash_key: id }\n".to_owned(),
        "  jobs: { type: queue, when: { stage: [dev] }, for_each: { x: 30, y: 60 }, visibility_timeout_seconds: \"${each.value}\" }\n"
            .to_owned(),
        "  gone: { type: queue, when: { stage: [prod] } }\n".to_owned(),
        "  theirs: { type: role, import: \"shared-${stage}\" }\n".to_owned(),
        format!(
            "  logger:{}    environment: {{ TEXT: OWN, DAYS: \"${{var.days}}\", ESCAPED: \"$${{x}} ${{var.literal}}\" }}\n    memory_size: ${{var.size}}\n",
            without_role
        ),
        format!(
            "  reader:{}    access: {{ \"${{var.which}}\": read }}\n    tags: {{ own: \"${{account}}\" }}\n    depends_on: [store]\n    events: {{ todos: {{ batch_size: 5 }} }}\n",
            without_role
        ),
        format!("  caller:{without_role}    environment: {{ URL: \"${{lookup.url}}\", BOTH: \"${{lookup.token}} ${{var.size}}\" }}\n"),
        "  named: { type: role, import: \"${lookup.role}\" }\n".to_owned(),
    ];
    let heads = [
        "tags: { app: \"${stage}\", tier: x }\n",
        "region: eu-west-1\n",
        "account: \"123456789012\"\n",
        "owns: [\"Orders-${stage}\"]\n",
        "outputs: { all: \"${team}-${stage} ${region}\" }\n",
    ];
    let defaults = [
        "  role: { description: \"of ${team}\", permissions_boundary: \"${var.boundary}\" }\n",
        "  function: { log_retention_in_days: \"${var.days}\", environment: { STAGE: \"${stage}\" } }\n",
        "  log_group: { retain: true, tags: { kept: \"yes\" } }\n",
        "  mapping: { starting_position: LATEST, maximum_retry_attempts: 2 }\n",
        "  table: { billing_mode: PAY_PER_REQUEST, protect: true }\n",
        "  queue: { tags: { q: \"1\" } }\n",
    ];
    let n = 1_usize << (1 + parts.len() + heads.len() + defaults.len());
    (0..n, any_text()).prop_map(move |(bits, own)| {
        let escaped = |c: char| match c {
            '\u{20}'..='\u{7e}' if !matches!(c, '"' | '\\') => c.to_string(),
            c => format!("\\U{:08x}", u32::from(c)),
        };
        let own = format!("\"{}\"", own.chars().map(escaped).collect::<String>());
        let has = |at: usize| bits >> at & 1 == 1;
        let mut text = "team: owls\n".to_owned();
        heads.iter().enumerate().filter(|(at, _)| has(*at)).for_each(|(_, it)| text += it);
        // All of these can also be in a file that the spec extends.
        let mut base = "stages: { dev: { days: 7, boundary: ~ }, prod: {} }\n".to_owned();
        base += "lookups: { url: { ssm: [\"/${stage}/url\", /url], default: x }, token: { secret: app, key: t }, role: { ssm: /role } }\n";
        base += "vars: { days: 1, size: 256, which: todos, boundary: \"arn:aws:iam::123456789012:policy/b\", literal: x }\n";
        // These are needed by the resources below.
        base += "defaults:\n";
        for (at, it) in defaults.iter().enumerate() {
            if at == 3 || at == 4 || has(at + heads.len()) {
                base += it;
            }
        }
        let is_extended = has(parts.len() + heads.len() + defaults.len());
        text += if is_extended { "extends: common.yaml\n" } else { &base };
        text += "resources:\n";
        for (at, it) in parts.iter().enumerate() {
            if at < 2 || has(at + heads.len() + defaults.len()) {
                text += &it.replace("OWN", &own);
            }
        }
        (text, is_extended.then_some(base))
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn a_rendered_spec_plans_the_same((text, base) in any_spec()) {
        let overrides = SpecOverrides { vars: [("literal".to_owned(), "${todos.arn}".to_owned())].into(), ..at_stage("dev") };
        let overrides = SpecOverrides { is_one_of_several: true, ..overrides };
        let files = [("team.yaml", text.as_str()), ("common.yaml", base.as_deref().unwrap_or_default())];
        let spec = load(&files, &overrides).unwrap_or_else(|said| panic!("{text}\n{said}"));
        let rendered = spec.rendered();
        let shown = sanitize::clean(&rendered, Reader { runner: true, ..Reader::default() });
        assert_eq!(shown, rendered, "what a user copies is the same");
        for key in ["stages", "vars", "defaults", "when", "for_each", "extends"] {
            assert!(!rendered.contains(&format!("{key}:")), "{rendered}");
        }
        let again = parse(&rendered, &SpecOverrides::default()).unwrap_or_else(|said| panic!("{text}\n{rendered}\n{said}"));
        pretty_assertions_eq(&meaning(&again), &meaning(&spec), &rendered);
        assert_eq!(again.rendered(), rendered);
    }
}

/// Both are equal, or the first line that differs is shown.
fn pretty_assertions_eq(a: &str, b: &str, rendered: &str) {
    let differing = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    assert!(a == b, "{differing:#?}\n{rendered}");
}

#[test]
fn what_a_choice_or_an_absent_resource_lacks_is_reported_with_its_location() {
    let head = "team: owls\nregion: eu-central-1\n";
    let logger = |more: &str| format!("  logger:{FUNCTION}{more}");
    let uses = ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN"]
        .map(|name| format!("      {name}: ${{var.x}}\n"))
        .concat();
    let table = |when: &str| format!("  todos: {{ {when}, {TABLE} }}\n");
    let reads = logger("    environment: { TABLE: \"${todos.name}\" }\n");
    let mut all = String::new();
    let mut refuse = |text: String, overrides: &SpecOverrides| {
        all += &parse(&text, overrides).unwrap_err();
        all += "\n\n";
    };
    refuse(format!("{head}stages: {{ dev: {{}} }}\nresources:\n{}", logger("")), &at_stage("production"));
    refuse(format!("{head}resources:\n{}", logger(&format!("    environment:\n{uses}"))), &SpecOverrides::default());
    for when in ["when: { region: [us-east-1] }", "for_each: one", "when: { var.list: [a] }"] {
        let text = format!("{head}vars: {{ list: [a] }}\nresources:\n{}", table(when));
        refuse(text + &reads, &SpecOverrides::default());
    }
    for uses in [reads.clone(), logger("    events: { todos: {} }\n")] {
        refuse(format!("{head}resources:\n{}{uses}", table("for_each: []")), &SpecOverrides::default());
    }
    let each = "  store: { type: table, for_each: [orders], attributes: { id: S }, billing_mode: PAY_PER_REQUEST }\n";
    refuse(format!("{head}resources:\n{each}"), &SpecOverrides::default());
    let each = "  jobs: { type: queue, for_each: { x: a }, visibility_timeout_seconds: \"${each.key}\" }\n";
    refuse(format!("{head}resources:\n{each}"), &SpecOverrides::default());
    let outside = SpecOverrides { env: [("list".to_owned(), "a, b".to_owned())].into(), ..SpecOverrides::default() };
    let text = format!("{head}vars: {{ list: [a] }}\nresources:\n{}", logger("    layers: ${var.list}\n"));
    refuse(text, &outside);
    assert_snapshot!(all);
}
