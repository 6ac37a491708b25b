//! The number of calls of a run: lists instead of single reads where there are many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::server::Cloud;
use super::world::World;
use super::{Project, diff_is_empty};

/// A spec with so many pipelines.
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
