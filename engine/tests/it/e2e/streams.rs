//! Changes to streams and their mappings: in each case records reach the log, through one mapping.

use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType};
use aws_sdk_lambda::types::EventSourcePosition;

use super::project::{ACCOUNT, Account, Project, Ran};
use super::{NO_CHANGES, TEAM, aged};
use crate::shared::proxy::Proxy;

const TABLE: &str = "blue-owls-todos";
const FUNCTION: &str = "blue-owls-logger";

impl Account {
    /// The ARN of the live stream.
    fn stream(&self) -> String {
        let table = self.wait(self.dynamodb.describe_table().table_name(TABLE).send()).table.unwrap();
        table.latest_stream_arn.unwrap()
    }

    /// Disables and re-enables the stream, as a user does in the console.
    fn toggle_stream(&self) {
        let before = self.stream();
        let off = StreamSpecification::builder().stream_enabled(false);
        let on = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
        for stream in [off, on] {
            let update = self.dynamodb.update_table().table_name(TABLE);
            self.wait(update.stream_specification(stream.build().unwrap()).send());
        }
        assert!(self.stream() != before);
    }

    /// Creates a mapping from the live stream without engine.
    fn map_by_hand(&self) -> String {
        let create = self.lambda.create_event_source_mapping().function_name(FUNCTION);
        let create = create.event_source_arn(self.stream()).batch_size(100);
        self.wait(create.starting_position(EventSourcePosition::TrimHorizon).send()).uuid.unwrap()
    }

    /// Expects one enabled mapping on the live stream, and that it delivers a new item to the log.
    #[track_caller]
    fn expect_delivery(&self, id: &str) -> String {
        let answer = self.wait(self.lambda.list_event_source_mappings().send());
        let [mapping] = answer.event_source_mappings() else { panic!("{answer:?}") };
        assert_eq!(mapping.event_source_arn(), Some(&*self.stream()));
        assert_eq!(mapping.state(), Some("Enabled"));
        self.put_item(TABLE, id, "buy milk");
        self.await_log(FUNCTION, &[&format!("INSERT keys {{\"id\":\"{id}\"}}")]);
        mapping.uuid().unwrap().to_owned()
    }
}

/// Applies the spec in a separate account.
fn deployed(project: &Project, account: &str) -> (String, Account) {
    let spec = project.spec_for(TEAM, account);
    project.run(&["apply", &spec, "--local"]).expect(0, &["Resources: 4 added, 0 changed, 0 destroyed."]);
    let aws = project.account(account);
    aws.expect_delivery("before");
    (spec, aws)
}

#[test]
fn a_new_view_type_creates_a_new_stream_and_items_still_reach_the_log() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    run(&["apply"]).expect(0, &["Apply complete!"]);
    let aws = project.account(ACCOUNT);
    let (old, stream) = (aws.expect_delivery("before"), aws.stream());
    project.edit(TEAM, &[("NEW_AND_OLD_IMAGES", "NEW_IMAGE")]);
    let told = [
        "~ stream_view_type = \"NEW_AND_OLD_IMAGES\" -> \"NEW_IMAGE\"",
        "-> (known after apply)",
        "AWS can't change a stream's view type",
        "records that the old mapping has not read may be lost",
        "-/+ logger-permission",
        "-/+ todos-to-logger (mapping) must be replaced",
        "redelivers the stream's records from the last 24 hours",
        "Plan: 2 to add, 1 to change, 2 to destroy.",
    ];
    run(&["diff"]).expect(0, &told);
    run(&["apply"]).expect(1, &["there is no terminal", "add `--yes`"]);
    assert_eq!((aws.mappings(), aws.stream()), (vec![old.clone()], stream.clone()), "nothing happens unasked");
    run(&["apply", "--yes"]).expect(0, &["Resources: 2 added, 1 changed, 2 destroyed."]);
    assert!(aws.expect_delivery("after") != old && aws.stream() != stream);
    // The new view type shows in the records.
    aws.update_item(TABLE, "after", "buy oat milk");
    let log = aws.await_log(FUNCTION, &["MODIFY keys {\"id\":\"after\"}"]);
    let line = log.iter().find(|line| line.contains("MODIFY keys {\"id\":\"after\"}")).unwrap();
    assert!(line.contains("new {") && !line.contains("old {"), "{line}");
    run(&["diff"]).expect(0, &[NO_CHANGES]);

    project.edit(TEAM, &[("    stream_view_type: NEW_IMAGE\n", "")]);
    run(&["apply", "--yes"]).expect(1, &["`todos` has no `stream_arn`, because its `stream_view_type` is not set"]);
}

#[test]
fn a_recreated_stream_or_table_is_detected_and_its_mapping_replaced() {
    let project = Project::new();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let (spec, aws) = &deployed(&project, "100000000001");
    let old = aws.mappings();
    aws.toggle_stream();
    let found = run(&["diff", spec, "--detailed-exitcode"]);
    found.expect(2, &["-/+ todos-to-logger (mapping) must be replaced", "~ event_source_arn"]);
    run(&["apply", spec]).expect(1, &["add `--yes`"]);
    assert_eq!(aws.mappings(), old);
    run(&["apply", spec, "--yes"]).expect(0, &["Resources: 2 added, 0 changed, 2 destroyed."]);
    aws.expect_delivery("moved");
    run(&["diff", spec]).expect(0, &[NO_CHANGES]);

    // Another table with the same name and ARN, but without tags.
    let (spec, aws) = &deployed(&project, "100000000002");
    aws.wait(aws.dynamodb.delete_table().table_name(TABLE).send());
    aws.create_table(TABLE, &[]);
    let proxy = Proxy::new(&project.endpoint(), |request| {
        let answer = request.forward();
        if request.is("DescribeTable") { aged(&answer) } else { answer }
    });
    let run = |args: &[&str]| project.run_at(&proxy.endpoint(), "100000000002", args);
    run(&["diff", spec]).expect(0, &["= todos (table blue-owls-todos) will be adopted", "-/+ todos-to-logger"]);
    run(&["apply", spec]).expect(1, &["add `--yes`"]);
    run(&["apply", spec, "--yes"]).expect(0, &["Resources: 1 adopted, 2 added, 0 changed, 2 destroyed."]);
    aws.expect_delivery("adopted");
    run(&["diff", spec]).expect(0, &[NO_CHANGES]);
}

#[test]
fn duplicate_mappings_are_destroyed_and_one_is_kept() {
    let project = Project::new();
    let run = |args: &[&str], code: i32, texts: &[&str]| -> Ran {
        project.run(&[args, &["--local"]].concat()).expect(code, texts)
    };
    let same = "it duplicates `todos-to-logger`";
    // The local AWS allows two mappings on one stream, and each item is processed twice.
    let (spec, aws) = &deployed(&project, "100000000001");
    let ours = aws.mappings();
    let by_hand = aws.map_by_hand();
    run(&["diff", spec, "--detailed-exitcode"], 2, &[&format!("- {by_hand} (mapping) will be destroyed"), same]);
    run(&["apply", spec], 1, &["add `--yes`"]);
    run(&["apply", spec, "--yes"], 0, &["Resources: 0 added, 0 changed, 1 destroyed."]);
    assert_eq!([aws.expect_delivery("once")], ours[..]);
    run(&["diff", spec], 0, &[NO_CHANGES]);

    // This stack's mapping is on a deleted stream, and a user has added another one by hand.
    let (spec, aws) = &deployed(&project, "100000000002");
    let ours = aws.mappings().remove(0);
    aws.toggle_stream();
    let by_hand = aws.map_by_hand();
    run(&["apply", spec, "--yes"], 0, &[&format!("(mapping {ours}) will be destroyed"), same, "= todos-to-logger"]);
    assert_eq!(aws.expect_delivery("kept"), by_hand);
    run(&["diff", spec], 0, &[NO_CHANGES]);

    // All mappings are deleted with their function.
    aws.map_by_hand();
    run(&["destroy", spec, "--yes", "--delete-data"], 0, &["Destroy complete! Resources: 5 destroyed."]);
    assert_eq!(aws.mappings(), [""; 0]);
}
