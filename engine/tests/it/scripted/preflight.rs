//! What `check`, and `apply` for its own steps, report before anything is created.

use serde_json::{Value as Json, json};

use super::server::{Cloud, Fault};
use super::world::role::Role;
use super::world::{Reply, World, YOUNG};
use super::{Project, deployed_world, replaced, writes};

const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";

fn trusting(statement: Json) -> World {
    World { trust: Some(json!({ "Version": "2012-10-17", "Statement": [statement] })), ..World::empty() }
}

fn for_ec2() -> Json {
    json!({ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" })
}

/// Asserts what `check` reports about `world`, in full on 80 columns.
#[track_caller]
fn check(world: World, project: &Project, code: i32, words: &[&str]) {
    let cloud = Cloud::start(world);
    let run = project.run(&cloud, &["check"]);
    run.ends_with(code);
    words.iter().for_each(|words| {
        run.complains(words);
    });
    if words.is_empty() {
        run.says("Ready to apply: no problems found");
    }
    assert!(writes(&cloud).is_empty());
    let calls = cloud.calls();
    let roles: Vec<&str> = calls.iter().filter(|it| it.operation == "GetRole").map(|it| it.about.as_str()).collect();
    let distinct: std::collections::BTreeSet<&str> = roles.iter().copied().collect();
    assert_eq!(roles.len(), distinct.len(), "a role is read once");
}

/// Asserts what an apply reports about `world`, and returns whether it wrote anything.
#[track_caller]
fn apply(world: World, project: &Project, code: i32, words: &[&str]) -> bool {
    let cloud = Cloud::start(world);
    let run = project.run(&cloud, &["apply", "--yes"]);
    run.ends_with(code);
    words.iter().for_each(|words| {
        run.complains(words);
    });
    cloud.count("CreateTable") > 0
}

#[test]
fn preflight_reports_what_could_not_be_checked() {
    let cloud = Cloud::start(World::empty());
    let run = Project::usual().run(&cloud, &["check"]);
    run.ends_with(0).says("Ready to apply: no problems found");
    run.says("Couldn't check the permissions of the role of `logger`")
        .says("Couldn't check whether you may pass the role");
    assert_eq!(cloud.count("SimulatePrincipalPolicy"), 2, "what the role may do, and whether it may be handed over");
    assert_eq!(cloud.count("ListAttachedRolePolicies"), 1, "where the simulator may not be asked");
}

#[test]
fn only_an_unconditional_trust_policy_without_lambda_is_an_error() {
    let why = [
        "error[role-not-assumable]: Lambda can't assume the role",
        "specs/team.yaml:",
        "only the service",
        "`ec2.amazonaws.com`",
    ];
    check(trusting(for_ec2()), &Project::usual(), 1, &why);
    assert!(!apply(trusting(for_ec2()), &Project::usual(), 1, &why), "nothing is made");
    let conditional = json!({
        "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "aws:SourceAccount": "123456789012" } },
    });
    check(trusting(conditional.clone()), &Project::usual(), 0, &[]);
    assert!(apply(trusting(conditional), &Project::usual(), 0, &[]));
    // A new role may be about to change.
    let young = World { roles_created: Some(YOUNG), ..trusting(for_ec2()) };
    check(young, &Project::usual(), 0, &["warning[role-not-assumable]: Lambda can't assume the role"]);
}

#[test]
fn a_missing_role_is_an_error() {
    let why = ["`execution-role` is refused", "specs/team.yaml:"];
    check(World::default(), &Project::usual(), 1, &why);
    assert!(!apply(World::default(), &Project::usual(), 1, &why));
}

#[test]
fn another_account_or_region_in_an_arn_is_an_error() {
    // Without an account in the spec, only AWS can report the current one.
    let elsewhere = |arn: &'static str| Project::new(move |text| replaced(&text, "${execution-role.arn}", arn));
    let why = [
        "error[role-of-other-account]: this ARN is in the account `999999999999`",
        "specs/team.yaml:",
        "`role` of a function",
    ];
    let role = "arn:aws:iam::999999999999:role/somebodys";
    check(World::empty(), &elsewhere(role), 1, &why);
    assert!(!apply(World::empty(), &elsewhere(role), 1, &why));
    check(with_role("/", &[]), &elsewhere("arn:aws:iam::123456789012:role/somebodys"), 0, &[]);
}

/// An account in which the role `somebodys` has this path.
fn with_role(path: &str, trusted: &[Json]) -> World {
    let mut world = if trusted.is_empty() { World::empty() } else { trusting(trusted[0].clone()) };
    world.roles.insert("somebodys".to_owned(), Role::old(path));
    world
}

/// IAM finds a role by its name, Lambda only by its full ARN.
#[test]
fn a_role_named_by_arn_must_match_the_whole_arn() {
    let named = |arn: &'static str| Project::new(move |text| replaced(&text, "${execution-role.arn}", arn));
    let (plain, deep) = ("arn:aws:iam::123456789012:role/somebodys", "arn:aws:iam::123456789012:role/teams/somebodys");
    let china = "arn:aws-cn:iam::123456789012:role/somebodys";
    for (path, arn, actual) in [("/teams/", plain, deep), ("/", deep, plain), ("/", china, plain)] {
        let why = [
            "error[role-not-assumable]: this isn't the ARN of the role `somebodys`",
            "specs/team.yaml:",
            &format!("the ARN of that role is `{actual}`, not `{arn}`"),
            &format!("use `{actual}`"),
        ];
        let project = named(arn);
        let cloud = Cloud::start(with_role(path, &[]));
        for args in [&["check"][..], &["apply", "--yes"]] {
            let run = project.run(&cloud, args);
            run.ends_with(1);
            for words in why {
                run.complains(words);
            }
        }
        assert!(writes(&cloud).is_empty(), "nothing is made");
    }
    check(with_role("/teams/", &[]), &named(deep), 0, &[]);
    let none = ["error[role-not-assumable]: the role `somebodys` doesn't exist in this account"];
    check(World::empty(), &named(plain), 1, &none);
    check(with_role("/", &[for_ec2()]), &named(plain), 1, &["error[role-not-assumable]: Lambda can't assume the role"]);
    // A role that can't be read stops nothing.
    let cloud = Cloud::start(World::empty());
    let denied = Reply::of("GetRole", 403, "AccessDenied", "User: u is not authorized to perform: iam:GetRole");
    let project = Project::new(|text| {
        let text = replaced(&text, "${execution-role.arn}", plain);
        let (before, rest) = text.split_once("  execution-role:").unwrap();
        let after = rest.find("\n\n").map_or("", |at| &rest[at..]);
        format!("{before}{after}")
    });
    cloud.always("GetRole", Fault::Answer(denied));
    project.run(&cloud, &["check"]).ends_with(0);
}

#[test]
fn conflicting_settings_are_warnings() {
    let mapping = |lines: &'static str| Project::new(move |text| format!("{text}{lines}"));
    let function = |lines: &'static str| {
        Project::new(move |text| replaced(&text, "    code: ../", &format!("{lines}\n    code: ../")))
    };
    let runtime = |from: &'static str| Project::new(move |text| replaced(&text, "nodejs22.x", from));
    let index = |units: u32| {
        Project::new(move |text| {
            let index = format!(
                "    global_secondary_indexes: {{ by-id: {{ hash_key: id, projection_type: ALL, read_capacity: 1, \
                 write_capacity: {units} }} }}\n    write_capacity: 2"
            );
            replaced(&text, "    write_capacity: 1", &index)
        })
    };
    let cases: [(Project, &[&str]); 16] = [
        (Project::usual(), &[]),
        (runtime("nodejs20.x"), &["warning: the runtime `nodejs20.x` is deprecated and no longer gets"]),
        (runtime("python3.13"), &[]),
        (function("    reserved_concurrent_executions: 0"), &["`logger` can never run, so `todos-to-logger` delivers"]),
        (index(1), &["the index `by-id` has fewer write capacity units than its table"]),
        (index(2), &[]),
        (mapping("    filters: [{ eventName: [DELETE] }]\n"), &["the filters of `todos-to-logger` drop every record"]),
        (mapping("    filters: [{ eventName: [REMOVE] }]\n"), &[]),
        (mapping("    filters: [{ dynamodb: { NewImage: { done: { BOOL: [true] } } } }]\n"), &[]),
        // Deletions by time to live, and an object, which can't be known to be missing.
        (mapping("    filters: [{ userIdentity: { type: [Service], principalId: [dynamodb.amazonaws.com] } }]\n"), &[]),
        (mapping("    filters: [{ dynamodb: { NewImage: [{ exists: false }] } }]\n"), &[]),
        (
            mapping("    filters: [{ userIdentity: { type: [Service] }, eventName: [INSERT] }]\n"),
            &["the filters of `todos-to-logger` drop every record"],
        ),
        (mapping("    maximum_record_age_in_seconds: 60\n"), &[]),
        (
            mapping("    on_failure_destination_arn: arn:aws:sqs:eu-central-1:123456789012:lost\n"),
            &["the failure destination of `todos-to-logger` gets a failed batch only when its records"],
        ),
        (
            Project::new(|text| {
                let text = replaced(&text, "    code: ../", "    timeout: 90\n    code: ../");
                format!("{text}    maximum_record_age_in_seconds: 60\n")
            }),
            &["discards records after 60 s, but one invocation can take 90 s"],
        ),
        (
            Project::new(|text| {
                let text = replaced(&text, "    code: ../", "    reserved_concurrent_executions: 2\n    code: ../");
                format!("{text}    parallelization_factor: 3\n")
            }),
            &[
                "`todos-to-logger` sends up to 3 batches per shard at once, but the concurrency of `logger` is limited to",
            ],
        ),
    ];
    for (project, words) in cases {
        check(World::empty(), &project, 0, words);
    }
    let images = Project::new(|text| {
        let text = replaced(&text, "NEW_AND_OLD_IMAGES", "KEYS_ONLY");
        format!("{text}    filters: [{{ dynamodb: {{ NewImage: {{ done: {{ BOOL: [true] }} }} }} }}]\n")
    });
    check(World::empty(), &images, 0, &["drop every record", "`Keys`, no image"]);
    assert!(apply(World::empty(), &images, 0, &["warning: the filters of `todos-to-logger` drop every record"]));
}

/// Only AWS shows the settings of an imported queue.
#[test]
fn the_visibility_timeout_of_an_imported_queue_is_compared() {
    let project = Project::new(|text| {
        let import = "resources:\n  jobs: { type: queue, import: shared-jobs }\n";
        let text = replaced(&text, "resources:\n", import);
        replaced(&text, "    code: ../", "    timeout: 20\n    events: { jobs: {} }\n    code: ../")
    });
    let world = |seconds: &str| {
        let mut world = World::empty();
        let queue = world.add_queue("shared-jobs", Default::default());
        queue.attributes.insert("VisibilityTimeout".to_owned(), seconds.to_owned());
        world
    };
    let refused = [
        "error[visibility-timeout-short]: the visibility timeout of `jobs` is 19 s, below",
        "ask the owner of `shared-jobs`",
    ];
    check(world("19"), &project, 1, &refused);
    assert!(!apply(world("19"), &project, 1, &refused));
    let warning = ["warning[visibility-timeout-short]: the visibility timeout of `jobs` is 119 s, less than"];
    check(world("119"), &project, 0, &warning);
    check(world("120"), &project, 0, &[]);
}

/// The role that engine creates gets no permission for a key that only AWS shows.
#[test]
fn the_key_of_an_imported_queue_is_reported_with_the_statement_to_add() {
    let statement = |key: &str| {
        format!("    statements: [{{ actions: [kms:Decrypt, kms:GenerateDataKey], resources: [\"{key}\"] }}]\n")
    };
    let own_role = |lines: &str| {
        Project::new(|text| {
            let import = "resources:\n  outbox: { type: queue, import: shared-outbox }\n";
            let text = replaced(&text, "resources:\n", import);
            let text = replaced(&text, "    role: ${execution-role.arn}\n", "");
            replaced(&text, "    code: ../", &format!("    access: {{ outbox: send }}\n{lines}    code: ../"))
        })
    };
    let world = |key: &str| {
        let mut world = World::empty();
        let queue = world.add_queue("shared-outbox", Default::default());
        queue.attributes.insert("KmsMasterKeyId".to_owned(), key.to_owned());
        queue.attributes.insert("SqsManagedSseEnabled".to_owned(), "false".to_owned());
        world
    };
    let key = "arn:aws:kms:eu-central-1:123456789012:key/theirs";
    let preflight = |world: World, project: &Project| {
        let ran = project.run(&Cloud::start(world), &["check"]);
        ran.ends_with(0);
        crate::shared::program::flat(&(ran.out + &ran.err))
    };
    let output = preflight(world(key), &own_role(""));
    for words in [
        "warning: `outbox` is encrypted with the key",
        "gets no permission for it",
        "add to `statements` of `logger`: { actions: [kms:Decrypt, kms:GenerateDataKey], resources:",
        "sqs.eu-central-1.amazonaws.com",
    ] {
        assert!(output.contains(words), "{words}: {output}");
    }
    let output = preflight(world("alias/theirs"), &own_role(""));
    assert!(output.contains("kms:ResourceAliases") && output.contains(":key/*"), "{output}");
    for (key, project) in [("alias/aws/sqs", own_role("")), (key, own_role(&statement(key)))] {
        let output = preflight(world(key), &project);
        assert!(!output.contains("is encrypted with the key"), "{output}");
    }
}

/// Diagnostics wrap at 80 columns, so tests only search for text that stays on one line.
const ROLE_LACKS: &str = "the role of `logger` may lack permissions";
const MAY_NOT_PASS: &str = "warning[access-denied]: you may lack permission to pass the role of `logger`";

#[test]
fn the_simulator_only_causes_warnings() {
    let cases: [(&str, bool, &[&str]); 4] = [
        ("allowed", false, &[]),
        ("explicitDeny", false, &[ROLE_LACKS, MAY_NOT_PASS, "a policy statement denies them"]),
        ("implicitDeny", false, &[ROLE_LACKS, MAY_NOT_PASS, "no policy statement allows them"]),
        ("implicitDeny", true, &[]),
    ];
    for (decision, lacks_context, words) in cases {
        let world = World { simulated: Some((decision, lacks_context)), ..World::empty() };
        check(world.clone(), &Project::usual(), 0, words);
        assert!(apply(world, &Project::usual(), 0, words));
    }
}

#[test]
fn without_the_simulator_preflight_reads_the_policies() {
    let policy = |effect: &str, action: &str, resource: &str| json!({ "Statement": { "Effect": effect, "Action": action, "Resource": resource } });
    let everything = || policy("Allow", "*", "*");
    let logs = || policy("Allow", "logs:*", "*");
    let nothing = || json!({ "Statement": [] });
    let stream = "arn:aws:dynamodb:eu-central-1:123456789012:table/blue-owls-*";
    let conditional = json!({ "Statement": [{
        "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "Bool": { "aws:SecureTransport": "true" } },
    }] });
    let variable = policy("Allow", "dynamodb:*", "arn:aws:dynamodb:*:*:table/${aws:PrincipalTag/team}-*");
    let but = json!({ "Statement": { "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" } });
    let cases: [([Json; 2], &[&str]); 9] = [
        ([everything(), nothing()], &[]),
        ([nothing(), everything()], &[]),
        ([logs(), policy("Allow", "dynamodb:*Stream*", stream)], &[ROLE_LACKS, "= why: `dynamodb:GetRecords`"]),
        ([logs(), nothing()], &[ROLE_LACKS, "no policy statement allows them"]),
        ([logs(), policy("Allow", "DynamoDB:*", stream)], &[]),
        ([everything(), policy("Deny", "dynamodb:Describe*", "*")], &[ROLE_LACKS, "a policy statement denies them"]),
        ([conditional, nothing()], &[]),
        ([logs(), variable], &[]),
        ([but, nothing()], &[]),
    ];
    for (policies, words) in cases {
        let world = World { policies: Some(policies), ..World::empty() };
        check(world.clone(), &Project::usual(), 0, words);
        // An apply makes no second wave of reads.
        let cloud = Cloud::start(world);
        Project::usual().run(&cloud, &["apply"]).ends_with(0);
        assert_eq!(cloud.count("ListAttachedRolePolicies"), 0);
    }
}

/// A function that uses its role for everything that engine knows of.
fn demanding() -> Project {
    Project::new(|text| {
        let key = "arn:aws:kms:eu-central-1:123456789012:key/1";
        let queues = format!(
            "resources:\n  dead: {{ type: queue, kms_key_arn: \"{key}\" }}\n  jobs: {{ type: queue, \
             visibility_timeout_seconds: 60 }}\n  audit: {{ type: log_group }}\n"
        );
        let text = replaced(&text, "resources:\n", &queues);
        let function = format!(
            "    tracing: Active\n    kms_key_arn: {key}\n    environment: {{ LEVEL: debug }}\n    vpc: {{ subnet_ids: \
             [subnet-1], security_group_ids: [sg-1] }}\n    dead_letter_target_arn: ${{dead.arn}}\n    async: {{ \
             on_success_destination_arn: \"arn:aws:sns:eu-central-1:123456789012:news\", on_failure_destination_arn: \
             \"arn:aws:lambda:eu-central-1:123456789012:function:other\" }}\n    access: {{ todos: [read, write], jobs: \
             send, audit: write }}\n    events: {{ jobs: {{}} }}\n    code: ../"
        );
        let text = replaced(&text, "    code: ../", &function);
        format!("{text}    on_failure_destination_arn: arn:aws:s3:::lost\n    maximum_retry_attempts: 2\n")
    })
}

/// What `engine policy --role` prints is what preflight asks for: the whole is enough, and nothing
/// less.
#[test]
fn preflight_asks_for_exactly_the_permissions_that_the_role_needs() {
    let project = demanding();
    let printed = project.run(&Cloud::start(World::empty()), &["policy", "--role", "--account", "123456789012"]);
    let policy = serde_json::from_str::<Json>(&printed.ends_with(0).out).unwrap()[ROLE]["permissions"].clone();
    let without = |action: &str| {
        let mut policy = policy.clone();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            match &mut statement["Action"] {
                Json::Array(actions) => actions.retain(|it| it != action),
                one if *one == action => *one = json!([]),
                _ => {}
            }
            // Neither a region nor a service in a condition is known here.
            statement.as_object_mut().unwrap().remove("Condition");
        }
        policy
    };
    let world = |policy: Json| World { policies: Some([policy, json!({ "Statement": [] })]), ..World::empty() };
    check(world(without("")), &project, 0, &[]);
    let listed = |action: &Json| match action {
        Json::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    };
    let actions: std::collections::BTreeSet<String> = policy["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| listed(&it["Action"]))
        .map(|it| it.as_str().unwrap().to_owned())
        .collect();
    assert!(actions.len() > 30, "{actions:?}");
    let services: std::collections::BTreeSet<&str> = actions.iter().map(|it| it.split(':').next().unwrap()).collect();
    assert_eq!(
        services.into_iter().collect::<Vec<_>>(),
        ["dynamodb", "ec2", "kms", "lambda", "logs", "s3", "sns", "sqs", "xray"]
    );
    for action in &actions {
        check(world(without(action)), &project, 0, &[ROLE_LACKS, &format!("`{action}`")]);
    }
    check(world(without("sns:Publish")), &project, 0, &["because `logger` has", "`async.on_success_destination_arn`"]);
}

/// engine grants the roles that it manages what they need.
#[test]
fn a_managed_role_is_not_asked_about() {
    let project = Project::new(|text| {
        let text = replaced(&text, "    role: ${execution-role.arn}\n", "");
        let (head, rest) = text.split_once("  execution-role:\n").unwrap();
        let (_, rest) = rest.split_once("  logger:\n").unwrap();
        format!("{head}  logger:\n{rest}")
    });
    let cloud = Cloud::start(World { simulated: Some(("implicitDeny", false)), ..World::empty() });
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    cloud.world(|world| *world = world.clone().aged());
    let run = project.run(&cloud, &["check"]);
    run.ends_with(0);
    assert!(!run.err.contains(ROLE_LACKS), "{}", run.err);
}

#[test]
fn apply_adds_at_most_one_wave_of_calls_to_those_of_diff() {
    let questions = |world: World, edit: fn(String) -> String| {
        let cloud = Cloud::start(World { simulated: Some(("allowed", false)), ..world });
        Project::new(edit).run(&cloud, &["apply", "--yes"]).ends_with(0);
        let calls = cloud.calls();
        let first = calls.iter().position(|call| call.operation == "SimulatePrincipalPolicy");
        let last = calls.iter().rposition(|call| call.operation == "SimulatePrincipalPolicy");
        if let (Some(first), Some(last)) = (first, last) {
            assert_eq!(last - first + 1, cloud.count("SimulatePrincipalPolicy"), "one wave: {calls:#?}");
        }
        cloud.count("SimulatePrincipalPolicy")
    };
    assert_eq!(questions(World::empty(), |text| text), 2);
    assert_eq!(questions(deployed_world(), |text| text), 0, "nothing is written");
    assert_eq!(questions(deployed_world(), |text| replaced(&text, "read_capacity: 1", "read_capacity: 2")), 0);
    assert_eq!(questions(deployed_world(), |text| format!("{text}    batch_size: 10\n")), 2);
}

#[test]
fn preflight_json_has_locations_and_unchecked_items() {
    let cloud = Cloud::start(trusting(for_ec2()));
    let run = Project::usual().run(&cloud, &["check", "--format", "json"]);
    run.ends_with(1);
    let document: Json = serde_json::from_str(&run.out).unwrap();
    assert_eq!(document["findings"][0]["severity"], "error");
    assert_eq!(document["findings"][0]["file"], "specs/team.yaml");
    assert!(document["findings"][0]["line"].is_u64());
    let problem = document["findings"][0]["problem"].as_str().unwrap();
    assert!(problem.contains(ROLE), "{problem}");
    assert_eq!(document["not_checked"].as_array().unwrap().len(), 2);
}
