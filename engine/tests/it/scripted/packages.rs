//! Functions that aren't zip packages: Lambda can't convert a container image to one, so engine
//! writes nothing to a function that would need the conversion.

use serde_json::json;

use super::server::Cloud;
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty, writes};

const URI: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/app:1";
/// A spec that doesn't declare the function under test.
const WITHOUT: &str = "team: blue-owls\nregion: eu-central-1\nresources: {}\n";

/// The default account, after another writer re-created the function with that package type.
fn with_image(package_type: &str) -> Cloud {
    let cloud = deployed();
    cloud.world(|world| {
        let function = world.functions.get_mut(FUNCTION).unwrap();
        let config = function.config.as_object_mut().unwrap();
        for absent in ["Runtime", "Handler", "Layers"] {
            config.remove(absent);
        }
        config.insert("PackageType".to_owned(), json!(package_type));
        config.insert("CodeSha256".to_owned(), json!("a9d3c1f0"));
        config.insert("CodeSize".to_owned(), json!(0));
        config.insert("ImageUri".to_owned(), json!(URI));
    });
    cloud
}

#[test]
fn a_container_image_is_replaced_after_approval_and_never_updated() {
    // A package type that is newer than engine isn't Zip either.
    for package_type in ["Image", "Wasm"] {
        let cloud = with_image(package_type);
        let project = Project::usual();
        let diff = project.run(&cloud, &["diff"]);
        diff.ends_with(0).says(&format!("image # forces replacement \"{URI}\" -> null"));
        diff.says("logger (function blue-owls-logger) must be replaced");
        diff.says(&format!("its package type is {package_type}, which can't be changed to Zip"));
        project.run(&cloud, &["apply"]).ends_with(1);
        assert_eq!(writes(&cloud), [""; 0], "nobody was there to answer");
        project.edit("  logger:\n    type: function\n", "  logger:\n    type: function\n    protect: true\n");
        project.run(&cloud, &["apply", "--yes"]).ends_with(1).complains("`protect: true` prevents");
        assert_eq!(writes(&cloud), [""; 0]);
        project.edit("    protect: true\n", "");
        project.run(&cloud, &["apply", "--yes"]).ends_with(0);
        let writes = writes(&cloud);
        let at = |operation: &str| writes.iter().position(|it| it == operation);
        assert!(at("DeleteFunction").is_some() && at("DeleteFunction") < at("CreateFunction"), "{writes:?}");
        assert!(!writes.iter().any(|it| it.starts_with("UpdateFunction") || it == "TagResource"), "{writes:?}");
        diff_is_empty(&project, &cloud);
    }
}

#[test]
fn a_container_image_without_an_owner_is_not_adopted() {
    for adopt in ["", "    adopt: true\n"] {
        let cloud = with_image("Image");
        cloud.world(|world| world.functions.get_mut(FUNCTION).unwrap().tags.clear());
        let project = Project::usual();
        project.edit("  logger:\n    type: function\n", &format!("  logger:\n    type: function\n{adopt}"));
        let refused = project.run(&cloud, &["apply", "--yes"]);
        refused.ends_with(1).complains("adopting it would replace it, because its `image` can't change");
        refused.complains("delete that function, or declare another one");
        assert_eq!(writes(&cloud), [""; 0]);
    }
}

#[test]
fn a_renamed_container_image_is_replaced_without_tagging_it() {
    let cloud = with_image("Image");
    cloud.world(|world| {
        let tags = &mut world.functions.get_mut(FUNCTION).unwrap().tags;
        tags.insert("engine:resource".to_owned(), "was-logger".to_owned());
    });
    let project = Project::usual();
    project.run(&cloud, &["diff"]).ends_with(0).says("must be replaced");
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let writes = writes(&cloud);
    assert!(!writes.iter().any(|it| it.starts_with("UpdateFunction") || it == "TagResource"), "{writes:?}");
    diff_is_empty(&project, &cloud);
}

#[test]
fn a_container_image_is_otherwise_handled_like_any_function() {
    let cloud = with_image("Image");
    Project::usual().run(&cloud, &["destroy", "--yes"]).ends_with(0);
    assert_eq!(cloud.world(|world| (world.functions.len(), world.tables.contains_key(TABLE))), (0, false));

    let cloud = with_image("Image");
    let project = Project::usual();
    project.spec(WITHOUT);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(cloud.world(|world| world.functions.len()), 0);

    let cloud = with_image("Image");
    Project::usual().run(&cloud, &["release", "logger"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UntagResource"]);
    assert!(cloud.world(|world| world.functions[FUNCTION].tags.is_empty()));

    let cloud = with_image("Image");
    let project = Project::usual();
    project.spec(&format!(
        "team: red-foxes\nregion: eu-central-1\nresources:\n  theirs: {{ type: function, import: {FUNCTION} }}\noutputs: {{ arn: '${{theirs.arn}}' }}\n"
    ));
    project.run(&cloud, &["diff"]).ends_with(0).says("No changes.");
}
