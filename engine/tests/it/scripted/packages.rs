//! Functions that aren't zip packages: Lambda can't convert a container image to one, so engine
//! writes nothing to a function that would need the conversion.

use serde_json::json;

use super::server::Cloud;
use super::{FUNCTION, Project, TABLE, deployed, diff_is_empty, writes};
use crate::shared::eventually;

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
        diff.ends_with(0).says("image # forces replacement").says(URI);
        diff.says("logger (function blue-owls-logger) must be replaced");
        if package_type == "Wasm" {
            diff.says("its package type is Wasm, which can't be changed");
        }
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

const CODE: &str = "    code: ../lambda-src/log-events";
const ZIP_ONLY: &str = "    runtime: nodejs22.x\n    handler: index.handler\n";
const OBJECT: &str = "    code: { s3: { bucket: deploys, key: app.zip, version: one } }";
const SIGNED: &str = "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-1";

#[test]
fn changing_between_a_package_and_an_image_replaces_the_function() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit(ZIP_ONLY, "");
    project.edit(CODE, &format!("    code: {{ image: '{URI}' }}"));
    let diff = project.run(&cloud, &["diff"]);
    diff.ends_with(0).says("image # forces replacement").says("must be replaced");
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    let config = cloud.world(|world| world.functions[FUNCTION].config.clone());
    assert_eq!((config["PackageType"].as_str(), config["ImageUri"].as_str()), (Some("Image"), Some(URI)));
    diff_is_empty(&project, &cloud);

    // Another image is an update, and so are its settings.
    cloud.forget();
    project.edit(&format!("{{ image: '{URI}' }}"), &format!("{{ image: {{ uri: '{URI}', command: [app.run] }} }}"));
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UpdateFunctionConfiguration"]);
    diff_is_empty(&project, &cloud);
    for (lines, complains) in [
        ("    runtime: nodejs22.x\n", "`runtime` doesn't apply to a container image"),
        ("    handler: index.handler\n", "`handler` doesn't apply to a container image"),
    ] {
        project.edit("    code: {", &format!("{lines}    code: {{"));
        project.run(&cloud, &["validate"]).ends_with(1).complains(complains);
        project.edit(lines, "");
    }
}

#[test]
fn code_in_s3_is_compared_by_its_reference_and_by_what_was_deployed() {
    let cloud = deployed();
    let project = Project::usual();
    project.edit(CODE, OBJECT);
    project.run(&cloud, &["diff"]).ends_with(0).says("code_source").says("s3://deploys/app.zip@one");
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["UpdateFunctionCode", "TagResource"]);
    diff_is_empty(&project, &cloud);

    // Another client deploys other code.
    let mut zip = None;
    cloud.world(|world| {
        let function = world.functions.get_mut(FUNCTION).unwrap();
        zip = Some(function.config["CodeSha256"].take());
        function.change_outside("CodeSha256", json!("by hand"));
    });
    project.run(&cloud, &["diff"]).ends_with(0).says("code_source");
    project.edit(OBJECT, &format!("    ignore_changes: [code]\n{OBJECT}"));
    diff_is_empty(&project, &cloud);
    project.edit("    ignore_changes: [code]\n", "");
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].config["CodeSha256"].clone()), zip.unwrap());
    diff_is_empty(&project, &cloud);

    // Local code again: the tag no longer counts.
    project.edit(OBJECT, CODE);
    project.run(&cloud, &["apply"]).ends_with(0);
    diff_is_empty(&project, &cloud);
}

#[test]
fn the_new_code_is_checked_by_the_new_code_signing_configuration() {
    let cloud = deployed();
    let project = Project::usual();
    let signed = format!("    code_signing_config_arn: {SIGNED}\n");
    project.edit(CODE, &format!("{signed}{CODE}"));
    project.run(&cloud, &["validate"]).ends_with(1).complains("`code_signing_config_arn` needs code in S3");
    project.edit(CODE, OBJECT);
    cloud.forget();
    project.run(&cloud, &["apply"]).ends_with(0);
    assert_eq!(writes(&cloud), ["PutFunctionCodeSigningConfig", "UpdateFunctionCode", "TagResource"]);
    diff_is_empty(&project, &cloud);

    cloud.forget();
    project.edit(&signed, "");
    project.edit(OBJECT, CODE);
    let refused = project.run(&cloud, &["apply"]);
    refused.ends_with(1).says("Lambda no longer checks who signed its code").complains("add `--yes`");
    assert_eq!(writes(&cloud), [""; 0]);
    project.run(&cloud, &["apply", "--yes"]).ends_with(0);
    assert_eq!(writes(&cloud), ["DeleteFunctionCodeSigningConfig", "UpdateFunctionCode"]);
    diff_is_empty(&project, &cloud);

    // A new function gets both at once, and a stack that lets it go takes every tag along.
    let cloud = Cloud::start(super::World::empty());
    project.edit(CODE, &format!("{signed}{OBJECT}"));
    project.run(&cloud, &["apply"]).ends_with(0);
    assert!(!writes(&cloud).iter().any(|it| it.contains("CodeSigning") || it == "UpdateFunctionCode"));
    diff_is_empty(&project, &cloud);
    project.run(&cloud, &["forget", "logger"]).ends_with(0);
    assert_eq!(cloud.world(|world| world.functions[FUNCTION].tags.clone()).len(), 0);
}

#[test]
fn a_build_runs_while_aws_is_read() {
    let (cloud, project) = (deployed(), Project::usual());
    let command = "while [ ! -e go ]; do sleep 0.01; done; mkdir -p dist; cp lambda-src/log-events/index.js dist";
    let build = format!("{{ command: '{command}', directory: .., inputs: [lambda-src] }}");
    project.edit(CODE, &format!("    code: ../dist\n    build: {build}"));
    cloud.hold();
    let running = project.command_on(&cloud.url, &["diff", "--allow-build"]).search_path().start();
    // AWS is read before the build ends, and the build ends before AWS answers.
    cloud.held(11);
    assert!(!project.path("dist").exists());
    std::fs::write(project.path("go"), "").unwrap();
    eventually("the build ends", || project.path("dist/index.js").exists());
    cloud.let_go();
    running.end().ends_with(0).says("No changes.");
}

#[test]
fn dev_asks_before_it_changes_who_may_sign_the_code() {
    let cloud = deployed();
    let project = Project::usual();
    let signed = format!("    code_signing_config_arn: {SIGNED}\n");
    project.edit(CODE, &format!("{signed}{OBJECT}"));
    project.run(&cloud, &["apply"]).ends_with(0);
    cloud.forget();
    let mut dev = project.command_on(&cloud.url, &["dev"]).env("TERM", "xterm").terminal();
    dev.exp_string("Only 'yes' will be accepted:").unwrap();
    dev.send_line("yes").unwrap();
    dev.exp_string("keys: a apply").unwrap();
    project.edit(&signed, "");
    dev.exp_string("Not applied: press a to apply it").unwrap();
    project.edit(OBJECT, &format!("{}{OBJECT}", signed.replace("csc-1", "csc-2")));
    dev.exp_string("csc-2").unwrap();
    dev.exp_string("Not applied: press a to apply it").unwrap();
    assert_eq!(writes(&cloud), [""; 0]);
    dev.send("q").unwrap();
    dev.flush().unwrap();
    dev.exp_eof().unwrap();
}
