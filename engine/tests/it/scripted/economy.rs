//! The number of calls of a run: none that another one of the same run answers, as few in the end as
//! safety allows, and lists instead of single reads where there are many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::apply::{self, Execution};
use engine::aws::{AwsError, Context};
use engine::inventory::Inventory;
use engine::live::{self, OrphanSearch};
use engine::plan::{self, Goal, Options, Plan};
use engine::spec::Spec;
use insta::assert_snapshot;
use serde_json::Value as Json;
use tokio::time::{Duration, advance};

use super::library::{context, failures, load, team};
use super::server::{Cloud, Edit, Fault};
use super::world::World;
use super::{Project, between, deployed_world, diff_is_empty, nth};

/// Reads and plans a destroy.
pub(super) async fn planned(cx: &Context, spec: &mut Spec) -> (Inventory, Plan) {
    let options = Options::default();
    let read = live::read(cx, spec, Goal::Absent, &options, OrphanSearch::Scanned, None).await;
    let inventory = read.map_err(|mut errors| errors.remove(0).error).unwrap();
    for declared in &mut spec.resources {
        if let Some(live) = inventory.live(&declared.name) {
            declared.id = live::with_unique_id(declared, live);
        }
        declared.id.env = Some(inventory.env.clone());
    }
    let plan = plan::plan(spec, &inventory, Goal::Absent, &options);
    (inventory, plan)
}

/// The calls of a destroy whose steps begin `pause` after its reads: those of the reads, and those
/// of the steps.
async fn destroy(pause: Duration) -> [Vec<String>; 2] {
    let cloud = Cloud::on_current_runtime(deployed_world()).await;
    let project = Project::usual();
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, team());
    let (inventory, plan) = planned(&cx, &mut spec).await;
    let n_reads = cloud.calls().len();
    advance(pause).await;
    let execution = Execution::new(&plan).right_after(inventory.begun);
    execution.run(&cx, &spec, &inventory, &apply::slots(16), &mut |_| {}).await;
    assert_eq!(failures(&execution.outcome().endings), Vec::<&AwsError>::new());
    assert!(cloud.world(|world| world.is_empty()));
    let calls: Vec<String> = cloud.calls().iter().map(|call| call.operation.clone()).collect();
    let mut parts = [calls[..n_reads].to_vec(), calls[n_reads..].to_vec()];
    parts.iter_mut().for_each(|part| part.sort());
    parts
}

#[tokio::test(start_paused = true)]
async fn a_destroy_reads_what_it_writes_and_nothing_twice() {
    let [reads, steps] = destroy(Duration::ZERO).await;
    assert_snapshot!(reads.join(" "), @"DescribeLogGroups DescribeLogGroups DescribeTable GetCallerIdentity GetFunction GetPolicy GetResources ListEventSourceMappings ListFunctions ListQueues ListRoles ListTables ListTags ListTagsOfResource Scan");
    // Both deletions are waited for: each is shown twice before it is over.
    assert_snapshot!(steps.join(" "), @"DeleteEventSourceMapping DeleteFunction DeleteTable DescribeTable DescribeTable DescribeTable DescribeTable GetEventSourceMapping GetEventSourceMapping GetEventSourceMapping GetFunction ListTagsOfResource RemovePermission Scan");
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_every_step_of_a_destroy_reads_again() {
    let [_, soon] = destroy(Duration::ZERO).await;
    let [_, late] = destroy(Duration::from_secs(2)).await;
    let mut more = late;
    for operation in soon {
        let at = more.iter().position(|it| *it == operation);
        more.remove(at.unwrap());
    }
    assert_snapshot!(more.join(" "), @"GetEventSourceMapping GetFunction GetFunction GetPolicy ListTags");
}

/// A spec with `count` pipelines.
fn pipelines(count: usize) -> String {
    let mut spec = "team: blue-owls\nregion: eu-central-1\nresources:\n  execution-role: { type: role, import: \
                    fhms-pulumi-challenge-lambda-execution-role }\n"
        .to_owned();
    for at in 1..=count {
        let code = "{ inline: 'exports.handler = async () => {};' }";
        write!(
            spec,
            "  table-{at}: {{ type: table, attributes: {{ id: S }}, hash_key: id, billing_mode: PAY_PER_REQUEST, \
             stream_view_type: NEW_IMAGE }}\n  function-{at}: {{ type: function, runtime: nodejs22.x, handler: \
             index.handler, role: \"${{execution-role.arn}}\", code: {code} }}\n  permission-{at}: {{ type: \
             permission, function: \"${{function-{at}.arn}}\", principal: dynamodb.amazonaws.com, source_arn: \
             \"${{table-{at}.stream_arn}}\" }}\n  mapping-{at}: {{ type: mapping, function: \
             \"${{function-{at}.arn}}\", event_source_arn: \"${{table-{at}.stream_arn}}\", starting_position: LATEST \
             }}\n"
        )
        .unwrap();
    }
    spec
}

/// Three pipelines, and the spec of them.
fn three_pipelines() -> (Project, World) {
    let (project, cloud) = (Project::usual(), Cloud::start(World::empty()));
    project.spec(&pipelines(3));
    project.run(&cloud, &["apply"]).ends_with(0);
    (project, cloud.world(|world| world.clone()).aged())
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_a_deletion_takes_no_slot() {
    let (project, world) = tokio::task::spawn_blocking(three_pipelines).await.unwrap();
    let cloud = Cloud::on_current_runtime(world).await;
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, team());
    let (inventory, plan) = planned(&cx, &mut spec).await;
    let outcome = apply::apply(&cx, &spec, &inventory, &plan, 1, &mut |_| {}).await;
    assert_eq!(failures(&outcome.endings), Vec::<&AwsError>::new());
    let calls = cloud.calls();
    let delete = |n| nth(&calls, "DeleteEventSourceMapping", n);
    // Each deletion is shown twice before it is over; one after another, that would be six reads,
    // and one before each write.
    let n_reads = between(&calls, delete(1), delete(3), "GetEventSourceMapping");
    assert!(n_reads < 6, "{n_reads} reads between the first and the last deletion of a mapping");
}

#[test]
fn many_functions_are_read_with_one_list_of_all_mappings() {
    let project = Project::usual();
    for (count, n_lists) in [(3, 3), (12, 1)] {
        let cloud = Cloud::start(World::empty());
        project.spec(&pipelines(count));
        project.run(&cloud, &["apply"]).ends_with(0);
        cloud.world(|world| *world = world.clone().aged());
        cloud.forget();
        diff_is_empty(&project, &cloud);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        cloud.calls().into_iter().for_each(|call| *counts.entry(call.operation).or_default() += 1);
        assert_eq!(counts["ListEventSourceMappings"], n_lists, "{counts:?}");
        for operation in ["GetFunction", "GetPolicy", "ListTags", "DescribeTable", "ListTagsOfResource"] {
            assert_eq!(counts[operation], count, "{operation}: {counts:?}");
        }
        // Another team has so many mappings that a list of all would take more calls.
        if n_lists == 1 {
            cloud.world(|world| {
                world.small_pages = true;
            });
            cloud.forget();
            diff_is_empty(&project, &cloud);
            assert_eq!(cloud.count("ListEventSourceMappings"), 6 + 2 * count, "half as many pages, then each function");
        }
    }
}

/// Lambda allows few of the calls that read these settings, one for each function.
#[test]
fn a_large_spec_reads_the_settings_of_functions_that_may_have_them() {
    const COUNT: usize = 21;
    const READS: [&str; 2] = ["GetFunctionEventInvokeConfig", "GetFunctionUrlConfig"];
    let project = Project::usual();
    let spec = |more: &str| project.spec(&pipelines(COUNT).replacen("runtime:", &format!("{more}runtime:"), 1));
    let cloud = Cloud::start(World::empty());
    let counts = || READS.map(|operation| cloud.count(operation));
    let read_again = || {
        cloud.world(|world| *world = world.clone().aged());
        cloud.forget();
        project.run(&cloud, &["diff", "--detailed-exitcode"])
    };
    spec("async: { maximum_retry_attempts: 0 }, url: { auth_type: AWS_IAM }, ");
    project.run(&cloud, &["apply"]).ends_with(0);
    // A function that doesn't exist has no policy.
    assert_eq!(cloud.count("GetPolicy"), 0);
    insta::assert_snapshot!(read_again().ends_with(0).out, @r"
    team blue-owls, stack team, account 123456789012, eu-central-1

    note: not compared, because neither the spec nor engine has set it and the reads
          would take long at AWS's rate limits: `async` and `url` of 20 functions

    No changes. Your infrastructure matches the configuration.
    ");
    assert_eq!(counts(), [1, 1], "of the function that declares them");

    // Nobody but engine has recorded which functions have them.
    spec("");
    read_again().ends_with(2).says("~ async").says("~ url");
    assert_eq!(counts(), [1, 1], "of the function for which engine has set them");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert!(cloud.world(|world| world.functions.values().all(|function| function.url.is_none())));
    read_again().ends_with(0).says("No changes.");
    assert_eq!(counts(), [1, 1], "the mark stays");
    // Without permission for ListTags, Lambda may leave out the tags without an error.
    let without_tags = Edit::new(|text| {
        let mut answer: Json = serde_json::from_str(text).unwrap();
        answer.as_object_mut().unwrap().remove("Tags");
        answer.to_string()
    });
    cloud.forget();
    cloud.always("GetFunction", Fault::DoneButEdited(without_tags));
    project.run(&cloud, &["diff"]);
    assert_eq!(counts(), [COUNT, COUNT], "each function may have the mark");
}
