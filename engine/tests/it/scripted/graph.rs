//! `graph --plan`: what changes, in signs, words and colors, including resources that are no longer
//! in the spec.

use super::pruning::without_mapping;
use super::{Project, deployed, replaced};

/// One resource for each kind of change.
fn project() -> Project {
    let edits = |text: String| {
        let text = replaced(&without_mapping(&text), "read_capacity: 1", "read_capacity: 5");
        let text = replaced(&text, "principal: dynamodb.amazonaws.com", "principal: s3.amazonaws.com");
        text + "  archive:\n    type: table\n    attributes: { id: S }\n    hash_key: id\n    billing_mode: PAY_PER_REQUEST\n"
    };
    Project::new(edits)
}

#[test]
fn a_plan_graph_shows_each_action_and_the_orphans() {
    let (project, cloud) = (project(), deployed());
    let mut drawn = String::new();
    for args in [&["text"][..], &["text", "--plain"], &["mermaid"], &["dot"]] {
        let run = project.run(&cloud, &[&["graph", "--plan", "--format"], args].concat());
        drawn += &format!("{}:\n{}\n", args.join(" "), run.ends_with(0).out);
    }
    insta::assert_snapshot!("plan", drawn);
    // Color alone isn't accessible: each box has a sign, and each sign has a line in the legend.
    for format in ["svg", "html"] {
        let picture = project.run(&cloud, &["graph", "--plan", "--format", format]).ends_with(0).out.clone();
        for (class, caption, sentence) in [
            ("create", "+ archive", "will be created (1)"),
            ("update", "~ todos", "will be updated in-place (1)"),
            ("replace", "-/+ logger-permission", "must be replaced (1)"),
            ("delete", "- todos-to-logger", "will be destroyed (1)"),
            ("none", "logger", "is unchanged (1)"),
            ("import", "&lt;= execution-role", "is read (1)"),
        ] {
            assert_eq!(picture.matches(&format!("class=\"node {class}\"")).count(), 1, "{class} in {picture}");
            assert_eq!(picture.matches(&format!("class=\"key {class}\"")).count(), 1, "{class} in {picture}");
            assert!(picture.contains(&format!(">{caption}</text>")), "{caption} in {picture}");
            assert!(picture.contains(&format!(">{sentence}</text>")), "{sentence} in {picture}");
        }
        // An orphan keeps its edges.
        assert_eq!(picture.matches("class=\"edge\"").count(), 5, "{picture}");
    }
}

#[test]
fn colors_are_used_where_a_terminal_shows_them() {
    let run = project().run(&deployed(), &["graph", "--plan", "--color", "always"]);
    let (green, red) = ("\u{1b}[32m", "\u{1b}[31m");
    assert!(run.ends_with(0).out.contains(&format!("  {green}+\u{1b}[0m {green}archive\u{1b}[0m")), "{:?}", run.out);
    assert!(run.out.contains(&format!("{red}todos-to-logger\u{1b}[0m    mapping")), "{:?}", run.out);
}
