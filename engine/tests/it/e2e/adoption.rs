//! Adoption of existing resources: it needs consent, the refusal prints the spec lines that
//! describe them, and nothing is lost.

use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndex, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, Projection, ProjectionType,
    ProvisionedThroughput, ScalarAttributeType, SseSpecification, SseType, StreamSpecification, StreamViewType,
    TableClass, Tag, TimeToLiveSpecification,
};
use aws_sdk_lambda::types::{Architecture, Environment, EphemeralStorage, TracingConfig, TracingMode};

use super::project::{Account, Project};
use super::{NO_CHANGES, TEAM, long_ago};

pub(super) const TABLE: &str = "blue-owls-todos";
pub(super) const FUNCTION: &str = "blue-owls-logger";
pub(super) const SECRET: &str = "hush-hush";

/// Creates a table with every setting that a spec can declare, and a function configured by hand.
pub(super) fn create_everything(aws: &Account) {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = |name: &str, kind| {
        let attribute = aws_sdk_dynamodb::types::AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(kind).build().unwrap()
    };
    let units = || ProvisionedThroughput::builder().read_capacity_units(1).write_capacity_units(1).build().unwrap();
    let projection = Projection::builder().projection_type(ProjectionType::Include).non_key_attributes("text").build();
    let index = GlobalSecondaryIndex::builder().index_name("by-owner").projection(projection);
    let index = index.key_schema(key("owner", KeyType::Hash)).key_schema(key("true", KeyType::Range));
    let create = aws.dynamodb.create_table().table_name(TABLE).key_schema(key("id", KeyType::Hash));
    let create = create
        .attribute_definitions(attribute("id", ScalarAttributeType::S))
        .attribute_definitions(attribute("owner", ScalarAttributeType::S))
        .attribute_definitions(attribute("true", ScalarAttributeType::N))
        .provisioned_throughput(units())
        .global_secondary_indexes(index.provisioned_throughput(units()).build().unwrap())
        .table_class(TableClass::StandardInfrequentAccess)
        .deletion_protection_enabled(true)
        .sse_specification(
            SseSpecification::builder()
                .enabled(true)
                .sse_type(SseType::Kms)
                .kms_master_key_id("arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
                .build(),
        )
        .stream_specification(
            StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(StreamViewType::NewAndOldImages)
                .build()
                .unwrap(),
        )
        .tags(Tag::builder().key("course").value("cloud").build().unwrap());
    aws.wait(create.send());
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build().unwrap();
    aws.wait(aws.dynamodb.update_time_to_live().table_name(TABLE).time_to_live_specification(ttl).send());
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
    let recovery = aws.dynamodb.update_continuous_backups().point_in_time_recovery_specification(recovery);
    aws.wait(recovery.table_name(TABLE).send());
    aws.put_item(TABLE, "7", "buy milk");

    aws.create_function(FUNCTION, |function| {
        function
            .description("says \"${x}\"")
            .memory_size(512)
            .timeout(10)
            .environment(Environment::builder().variables("TOKEN", SECRET).build())
            .layers("arn:aws:lambda:eu-central-1:123456789012:layer:a:1")
            .architectures(Architecture::Arm64)
            .ephemeral_storage(EphemeralStorage::builder().size(1024).build().unwrap())
            .tracing_config(TracingConfig::builder().mode(TracingMode::Active).build())
            .tags("course", "cloud")
    });
    let reserve = aws.lambda.put_function_concurrency().function_name(FUNCTION);
    aws.wait(reserve.reserved_concurrent_executions(5).send());
    let stream = aws.table(TABLE).latest_stream_arn.unwrap();
    for (id, principal, source) in
        [("other", "s3.amazonaws.com", None), ("blue-owls-logger-permission", "dynamodb.amazonaws.com", Some(&stream))]
    {
        let add = aws.lambda.add_permission().function_name(FUNCTION).statement_id(id).principal(principal);
        aws.wait(add.action("lambda:InvokeFunction").set_source_arn(source.cloned()).send());
    }
    let uuid = aws.create_mapping(FUNCTION, &stream, &[("course", "cloud")]);
    let update = aws.lambda.update_event_source_mapping().uuid(uuid).batch_size(7).enabled(false);
    aws.wait(update.maximum_retry_attempts(2).send());
}

/// Pastes the lines that a plan prints into their resources; returns the number of resources.
fn paste(project: &Project, spec: &str, plan: &str) -> usize {
    let mut hints = 0;
    let mut text: Vec<String> = project.read(spec).lines().map(str::to_owned).collect();
    let (mut place, mut is_skipped) = (None, true);
    for line in plan.lines() {
        // These lines are indented as in a spec; other lines have a sign or are indented further.
        let is_yaml = line.trim_start().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '"')
            && !line.contains("and add:");
        let copied = Some(line).filter(|line| line.starts_with("    ") && is_yaml);
        if let Some((_, name)) = line.split_once("hint: ") {
            let resource = format!("  {}:", name.split('`').nth(1).unwrap());
            place = Some(text.iter().position(|line| *line == resource).unwrap() + 1);
            hints += 1;
            is_skipped = false;
        } else if let (Some(copied), Some(at)) = (copied, &mut place)
            && !is_skipped
        {
            let property = copied.split_inclusive(':').next().unwrap();
            // The spec already has a property that is to be corrected.
            let old = text[*at..].iter().take_while(|line| line.starts_with("    "));
            let old = old.enumerate().find(|(_, line)| !property.starts_with("     ") && line.starts_with(property));
            if let Some((offset, _)) = old {
                text.remove(*at + offset);
            }
            text.insert(*at, copied.to_owned());
            *at += 1;
        } else if !line.trim_start().starts_with("and add:") {
            is_skipped = true;
        }
    }
    project.write(spec, &(text.join("\n") + "\n"));
    hints
}

#[test]
fn a_refused_adoption_prints_the_lines_that_keep_the_settings() {
    let project = Project::new();
    let account = "100000000001";
    let (spec, aws, proxy) = (&project.spec_for(TEAM, account), project.account(account), long_ago(&project));
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), account, args);
    project.run(&["diff", spec, "--local"]).expect(0, &["4 to add"]);
    create_everything(&aws);
    let before = aws.snapshot();

    let refused = run(&["diff", spec]);
    refused.expect(
        1,
        &[
            "! todos (table blue-owls-todos) is refused",
            "adopting it would reset what the spec doesn't declare, and engine never does that",
            "to keep it as it is, use these lines in `todos`:",
            "by-owner: hash_key: \"owner\"",
            "\"true\": \"N\"",
            "ignore_changes: [environment]",
            "environment.TOKEN = (sensitive) -> null",
            "Refused: 3 resources are refused",
        ],
    );
    let refused = run(&["apply", spec, "--yes"]);
    assert!(!format!("{refused:?}").contains(SECRET));
    assert_eq!(aws.snapshot(), before, "a refusal stops the command before its first write");
    assert_eq!(paste(&project, spec, &refused.out), 3);

    let adopted = run(&["apply", spec, "--yes"]);
    adopted.expect(0, &["Resources: 4 adopted, 0 added, 0 changed, 0 destroyed."]);
    run(&["diff", spec, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    // Nothing is lost: items, other tags, other statements, values that were never shown.
    assert_eq!(aws.n_items(TABLE), 1);
    assert_eq!(aws.mappings().len(), 1);
    for (name, tags) in aws.tags() {
        assert_eq!((tags["course"].as_str(), tags["engine:team"].as_str()), ("cloud", "blue-owls"), "{name}");
    }
    assert_eq!(before.keys().collect::<Vec<_>>(), aws.snapshot().keys().collect::<Vec<_>>());
    assert!(aws.snapshot()[&format!("function {FUNCTION}")].contains("s3.amazonaws.com"));
    let now = aws.wait(aws.lambda.get_function_configuration().function_name(FUNCTION).send());
    assert_eq!(now.environment.unwrap().variables.unwrap()["TOKEN"], SECRET);
    let table = aws.table(TABLE);
    assert_eq!((table.deletion_protection_enabled, table.global_secondary_indexes().len()), (Some(true), 1));
}

/// A function's mappings, and what the plan does with them.
struct Duplicates {
    /// Creates the mappings of `blue-owls-logger`, given the live stream and the UUID of this
    /// stack's mapping.
    make: fn(&Account, &str, &str),
    says: &'static [&'static str],
    done: &'static str,
    /// Whether the mapping from the spec's first apply is kept.
    keeps_first: bool,
}

#[test]
fn the_spec_matches_one_of_several_mappings_and_adds_no_duplicate() {
    let cases = [
        Duplicates {
            make: |aws, stream, ours| {
                aws.wait(aws.lambda.delete_event_source_mapping().uuid(ours).send());
                aws.create_mapping(FUNCTION, stream, &[]);
            },
            says: &["= todos-to-logger (mapping) will be adopted"],
            done: "Resources: 1 adopted, 0 added, 0 changed, 0 destroyed.",
            keeps_first: false,
        },
        Duplicates {
            make: |aws, stream, _| {
                aws.create_mapping(FUNCTION, stream, &[]);
            },
            says: &["it duplicates `todos-to-logger`", "1 to destroy"],
            done: "Resources: 0 added, 0 changed, 1 destroyed.",
            keeps_first: true,
        },
        Duplicates {
            make: |aws, stream, ours| {
                aws.wait(aws.lambda.delete_event_source_mapping().uuid(ours).send());
                let tags = [("engine:team", "blue-owls"), ("engine:stack", "app"), ("engine:resource", "feed")];
                aws.create_mapping(FUNCTION, stream, &tags);
            },
            says: &["~ todos-to-logger (mapping) will be updated", "it was named `feed` in the spec"],
            done: "Resources: 0 added, 1 changed, 0 destroyed.",
            keeps_first: false,
        },
        // This stack's mapping is on an ended stream: the one on the live stream is kept, the other
        // one is deleted.
        Duplicates {
            make: |aws, _, _| {
                let stream = aws.new_stream(TABLE, StreamViewType::NewAndOldImages);
                aws.create_mapping(FUNCTION, &stream, &[]);
            },
            says: &["= todos-to-logger (mapping) will be adopted", "- todos-to-logger (mapping "],
            done: "Resources: 1 adopted, 1 added, 0 changed, 2 destroyed.",
            keeps_first: false,
        },
        // A mapping between the function and another table isn't managed by this stack.
        Duplicates {
            make: |aws, _, _| {
                aws.create_table("blue-owls-others", &[]);
                let stream = aws.new_stream("blue-owls-others", StreamViewType::KeysOnly);
                aws.create_mapping(FUNCTION, &stream, &[]);
            },
            says: &["No changes."],
            done: "Resources: 0 added, 0 changed, 0 destroyed.",
            keeps_first: true,
        },
    ];
    let project = Project::new();
    for (case, Duplicates { make, says, done, keeps_first }) in cases.iter().enumerate() {
        let account = format!("10000000010{case}");
        let (spec, aws) = (&project.spec_for(TEAM, &account), project.account(&account));
        project.edit(spec, &[("team: blue-owls", "team: blue-owls\nstack: app")]);
        project.run(&["apply", spec, "--local"]).expect(0, &["4 added"]);
        let stream = aws.table(TABLE).latest_stream_arn.unwrap();
        let ours = aws.mappings().remove(0);
        make(&aws, &stream, &ours);
        let foreign = aws.mappings().len() > 1 && says == &["No changes."];
        project.run(&["diff", spec, "--local"]).expect(0, says);
        let ran = project.run(&["apply", spec, "--local", "--yes"]);
        if foreign {
            ran.expect(0, &["No changes."]);
        } else {
            ran.expect(0, &[done]);
        }
        project.run(&["diff", spec, "--local", "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
        let left = aws.mappings();
        assert_eq!(left.len(), if foreign { 2 } else { 1 }, "case {case}: {left:?}");
        assert_eq!(left.contains(&ours), *keeps_first, "case {case}");
    }
}

#[test]
fn an_untagged_mapping_on_an_ended_stream_is_adopted_before_replacement() {
    let project = Project::new();
    let aws = project.account(super::ACCOUNT);
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply", TEAM]).expect(0, &["4 added"]);
    let old = aws.table(TABLE).latest_stream_arn.unwrap();
    aws.wait(aws.lambda.delete_event_source_mapping().uuid(&aws.mappings()[0]).send());
    let uuid = aws.create_mapping(FUNCTION, &old, &[]);
    aws.new_stream(TABLE, StreamViewType::NewAndOldImages);
    let before = project.read(TEAM);
    let refused = run(&["diff", TEAM]);
    let refused = refused.expect(1, &["adopting it would replace it", "use these lines in `todos-to-logger`"]);
    assert_eq!(paste(&project, TEAM, &refused.out), 1);
    run(&["apply", TEAM, "--yes"]).expect(0, &["1 adopted"]);
    assert_eq!(aws.mappings(), [uuid]);
    project.write(TEAM, &before);
    run(&["apply", TEAM, "--yes"]).expect(0, &["Resources: 1 added, 0 changed, 1 destroyed."]);
    assert_eq!(aws.mappings().len(), 1);
    run(&["diff", TEAM]).expect(0, &[NO_CHANGES]);
}
