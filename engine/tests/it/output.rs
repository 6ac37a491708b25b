//! How plans look on a terminal of 80 columns and as a comment on a pull request, no matter which
//! values they contain.

use std::time::Duration;

use engine::apply::StepOutcome;
use engine::aws::error::explained;
use engine::aws::{AwsError, Code};
use engine::plan::{Action, Change, Goal, Op, Options, Plan, PropertyChange, Step, Subject};
use engine::remedy::Advice;
use engine::render::markdown::{self, LIMIT, PlanContext};
use engine::render::{self, OutputStyle, Rows};
use engine::schema::{AwsEnv, Effect, Outputs};
use engine::spec::Spec;
use engine::value::{Part, Path, Placeholder, Template, Tree, Value};
use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use crate::plan::{DEPLOYED, PIPELINE, load, planned, with};

const NARROW: OutputStyle = OutputStyle { color: false, width: 80, plain: false };

fn change(resource: &str, action: Action, properties: Vec<PropertyChange>) -> Change {
    Change {
        subject: Subject::Declared,
        resource: resource.into(),
        kind: "function".into(),
        name: format!("owls-{resource}"),
        implied_by: None,
        action,
        properties,
        reason: None,
        hint: None,
        remarks: Vec::new(),
        needs_approval: false,
        pending: false,
        partial: false,
        unread: std::collections::BTreeSet::new(),
        desired: Tree::new(),
        outputs: Outputs::new(),
    }
}

fn property(path: &[&str], before: serde_json::Value, after: serde_json::Value) -> PropertyChange {
    let path = path.iter().fold(Path::default(), |path, key| match key.parse() {
        Ok(index) => path.index(index),
        Err(_) => path.key(key),
    });
    let is_sensitive = path.root() == Some("environment");
    let (before, after) = (Value::from(before), Value::from(after));
    PropertyChange { path, before, after, effect: Effect::InPlace, sensitive: is_sensitive, is_default: false }
}

fn unknown() -> Value {
    let placeholder = Placeholder::Output { resource: "todos".into(), attribute: "stream_arn".into() };
    Value::Unknown(Template(vec![Part::Placeholder(placeholder)]))
}

fn of(changes: Vec<Change>) -> Plan {
    Plan { changes, ..Plan::default() }
}

#[test]
fn unchanged_resources_are_listed_on_demand() {
    let plan = planned(
        &load(PIPELINE),
        &with(DEPLOYED, "memory_size: 128", "memory_size: 256"),
        Goal::Present,
        Options::default(),
    );
    assert_snapshot!(render::plan(&plan, false, Rows::Noteworthy, NARROW), @r"
     <= runner (role runner) is read
      ~ logger (function owls-logger) will be updated in-place
          ~ memory_size = 256 -> 128

    Plan: 0 to add, 1 to change, 0 to destroy.
    ");
    assert_snapshot!(render::plan(&plan, false, Rows::All, NARROW), @r"
        todos (table owls-todos) is unchanged
     <= runner (role runner) is read
      ~ logger (function owls-logger) will be updated in-place
          ~ memory_size = 256 -> 128
        allow (permission owls-allow) is unchanged
        pipe (mapping) is unchanged

    Plan: 0 to add, 1 to change, 0 to destroy.
    ");
    let nothing = planned(&load(PIPELINE), DEPLOYED, Goal::Present, Options::default());
    assert_snapshot!(render::plan(&nothing, false, Rows::All, NARROW), @r"
        todos (table owls-todos) is unchanged
     <= runner (role runner) is read
        logger (function owls-logger) is unchanged
        allow (permission owls-allow) is unchanged
        pipe (mapping) is unchanged

    No changes. Your infrastructure matches the configuration.
    ");
}

#[test]
fn code_is_one_line_with_hash_and_size() {
    let hashes = ["EDNcrtv3j+9KswGX9p82j0NwyX1b7NStLW7ZalVpu2Q=", "8f3kPiZHiBuq28dPNWbvPMFw1i0SB8WbIWrIcWfpCjPY="];
    let code = |before: bool| {
        let before = |value: serde_json::Value| if before { value } else { json!(null) };
        vec![
            property(&["runtime"], before(json!("nodejs20.x")), json!("nodejs22.x")),
            property(&["code_sha256"], before(json!(hashes[0])), json!(hashes[1])),
            property(&["code_size"], before(json!(612)), json!(1_234_567)),
        ]
    };
    let plan = of(vec![
        change("new", Action::Create, code(false)),
        change("known", Action::Update, code(true)),
        change("unsized", Action::Update, code(true).drain(..2).collect()),
    ]);
    assert_snapshot!(render::plan(&plan, false, Rows::Noteworthy, NARROW), @r#"
      + new (function owls-new) will be created
          + runtime = "nodejs22.x"
          + code    = 8f3kPiZHiBuq… (1,234,567 bytes)
      ~ known (function owls-known) will be updated in-place
          ~ runtime = "nodejs20.x" -> "nodejs22.x"
          ~ code    = EDNcrtv3j+9K… (612 bytes) -> 8f3kPiZHiBuq… (1,234,567 bytes)
      ~ unsized (function owls-unsized) will be updated in-place
          ~ runtime = "nodejs20.x" -> "nodejs22.x"
          ~ code    = EDNcrtv3j+9K… -> 8f3kPiZHiBuq…

    Plan: 1 to add, 2 to change, 0 to destroy.
    "#);
    // JSON output has both in full.
    let spec = load(PIPELINE);
    let document = render::plan_json(&spec, &AwsEnv::new("eu-central-1", "123456789012"), &plan);
    let properties = document["changes"][1]["properties"].as_array().unwrap();
    assert_eq!(properties[1]["before"], hashes[0]);
    assert_eq!((&properties[2]["path"], &properties[2]["after"]), (&json!("code_size"), &json!(1_234_567)));
}

#[test]
fn sensitive_values_show_only_that_they_differ() {
    let update = vec![
        property(&["environment", "KEY"], json!("old"), json!("swordfish")),
        property(&["environment", "ADDED"], json!(null), json!("swordfish")),
        property(&["environment", "REMOVED"], json!("swordfish"), json!(null)),
        PropertyChange { after: unknown(), ..property(&["environment", "LATER"], json!("swordfish"), json!(null)) },
    ];
    let create = vec![
        property(&["memory_size"], json!(null), json!(128)),
        property(&["environment"], json!(null), json!({ "KEY": "swordfish", "LONGER": "swordfish" })),
    ];
    let plan = of(vec![change("logger", Action::Update, update), change("new", Action::Create, create)]);
    let text = render::plan(&plan, false, Rows::All, NARROW);
    assert!(!text.contains("swordfish"));
    assert_snapshot!(text, @r"
      ~ logger (function owls-logger) will be updated in-place
          ~ environment.KEY     = (sensitive) -> (sensitive, changed)
          ~ environment.ADDED   = null -> (sensitive)
          ~ environment.REMOVED = (sensitive) -> null
          ~ environment.LATER   = (sensitive) -> (sensitive, known after apply)
      + new (function owls-new) will be created
          + memory_size        = 128
          + environment.KEY    = (sensitive)
          + environment.LONGER = (sensitive)

    Plan: 1 to add, 1 to change, 0 to destroy.
    ");
    let page = PlanContext {
        spec: &load(PIPELINE),
        env: &AwsEnv::new("eu-central-1", "123456789012"),
        notes: &[],
        rows: Rows::All,
        destroy: false,
    };
    assert!(!markdown::plan(&page, &plan).contains("swordfish"));
}

#[test]
fn values_too_long_for_the_terminal_are_split_where_possible() {
    let filter =
        json!({ "eventName": ["INSERT", "MODIFY"], "dynamodb": { "NewImage": { "done": { "BOOL": [true] } } } });
    let arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/2026-11-22T21:11:20.123";
    let create = vec![
        property(&["batch_size"], json!(null), json!(100)),
        property(&["event_source_arn"], json!(null), json!(arn)),
        property(&["filters"], json!(null), json!([filter, { "eventName": ["REMOVE"] }])),
        property(&["tags"], json!(null), json!({ "cost": "low", "a key": "x" })),
    ];
    let update = vec![
        property(&["filters", "0", "eventName"], json!(["INSERT"]), json!(["INSERT", "MODIFY"])),
        property(&["filters", "1"], json!(null), filter),
        PropertyChange {
            effect: Effect::Replace,
            ..property(&["event_source_arn"], json!(arn), json!("arn:aws:dynamodb:eu-central-1:1:table/x/stream/1"))
        },
        PropertyChange {
            effect: Effect::Replace,
            ..property(&["starting_position"], json!("LATEST"), json!("TRIM_HORIZON"))
        },
    ];
    let plan = of(vec![change("pipe", Action::Create, create), change("other", Action::Replace, update)]);
    let text = render::plan(&plan, false, Rows::All, NARROW);
    assert_snapshot!(text, @r#"
      + pipe (function owls-pipe) will be created
          + batch_size       = 100
          + event_source_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/2026-11-22T21:11:20.123"
          + filters          = [
              {
                dynamodb: { NewImage: { done: { BOOL: [true] } } }
                eventName: ["INSERT", "MODIFY"]
              }
              { eventName: ["REMOVE"] }
            ]
          + tags             = { "a key": "x", cost: "low" }
    -/+ other (function owls-other) must be replaced
          ~ filters[0].eventName = ["INSERT"] -> ["INSERT", "MODIFY"]
          ~ filters[1]
              null
           -> {
                dynamodb: { NewImage: { done: { BOOL: [true] } } }
                eventName: ["INSERT", "MODIFY"]
              }
          ~ event_source_arn # forces replacement
              "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/2026-11-22T21:11:20.123"
           -> "arn:aws:dynamodb:eu-central-1:1:table/x/stream/1"
          ~ starting_position    = "LATEST" -> "TRIM_HORIZON" # forces replacement

    Plan: 2 to add, 0 to change, 1 to destroy.
    "#);
    assert!(text.lines().all(|line| line.contains("arn:aws") || line.chars().count() <= 80), "{text}");
    // Color adds only escape codes.
    let coloured = render::plan(&plan, false, Rows::All, OutputStyle { color: true, ..NARROW });
    assert!(coloured.contains('\x1b'));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text);
}

/// Padding depends on the visible width.
#[test]
fn colors_do_not_affect_the_layout() {
    use engine::cause::Code;
    use engine::logs::{self as records, Line};
    use engine::render::logs::{Journal, JournalEntry};

    const COLORED: OutputStyle = OutputStyle { color: true, ..NARROW };
    let kinds = engine::kinds::all();
    let schemas = || kinds.schemas();
    let plan = varied();
    let log = |look: OutputStyle| {
        let texts = [
            "START RequestId: 1",
            "2026\t1\tWARN\tcareful",
            "REPORT RequestId: 1\tDuration: 1 ms\tBilled Duration: 1 ms",
        ];
        let lines: Vec<Line> = texts.iter().map(|text| records::read(text)).collect();
        let mut journal = Journal::new(["logger", "a-longer-name"].into_iter(), look);
        let said = lines.iter().flat_map(|line| &line.entries);
        let entries =
            said.map(|entry| JournalEntry { function: "logger", at: 0, stream: "s", request: None, entry }).collect();
        let rows = journal.fold(entries);
        rows.iter().map(|row| journal.row(row, None)).collect::<String>()
    };
    let checks =
        [("ok", "region", "x ".repeat(60)), ("note", "clock", "y".to_owned()), ("PROBLEM", "account", "z".to_owned())];
    let mut texts: Vec<Box<dyn Fn(OutputStyle) -> String + '_>> = vec![
        Box::new(|look| render::explain::kinds(schemas(), look)),
        Box::new(|look| render::explain::spec(&engine::kinds::all(), None, look).unwrap()),
        Box::new(render::explain::codes),
        Box::new(|look| render::plan(&plan, false, Rows::All, look)),
        Box::new(|look| render::summary(&plan, false, look)),
        Box::new(|look| render::checkup(&checks, look)),
        Box::new(log),
    ];
    for schema in schemas() {
        texts.push(Box::new(move |look| render::explain::kind(schema, None, look).unwrap()));
    }
    for code in Code::ALL {
        texts.push(Box::new(|look| render::explain::code(*code, look)));
    }
    for text in &texts {
        let (plain, colored) = (text(NARROW), text(COLORED));
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
    }
    assert!(texts.iter().filter(|text| text(COLORED).contains('\x1b')).count() > 60, "{} texts", texts.len());
}

/// A plan with an example of everything.
fn varied() -> Plan {
    let spec = with(PIPELINE, "NEW_AND_OLD_IMAGES", "KEYS_ONLY");
    let mut plan = planned(&load(&spec), DEPLOYED, Goal::Present, Options::default());
    let hint = "to keep it as it is, add to `old`:\n    stream_view_type: \"NEW_IMAGE\"";
    plan.changes.push(Change {
        kind: "table".into(),
        reason: Some("adopting it would reset what the spec doesn't declare, and engine never does that".into()),
        hint: Some(hint.into()),
        ..change("old", Action::Refused, vec![property(&["stream_view_type"], json!("NEW_IMAGE"), json!(null))])
    });
    plan.changes.push(change(
        "new",
        Action::Create,
        vec![
            property(&["code_sha256"], json!(null), json!("EDNcrtv3j+9KswGX9p82j0NwyX1b7NStLW7ZalVpu2Q=")),
            property(&["environment"], json!(null), json!({ "KEY": "swordfish" })),
            property(&["tags"], json!(null), json!({ "note": "a | b `c` @owner <b>\n</details>" })),
        ],
    ));
    plan.remarks.push("what is no longer in the spec was not looked for".into());
    plan
}

#[test]
fn a_comment_starts_with_what_matters_and_folds_the_rest() {
    let (spec, env) = (load(PIPELINE), AwsEnv::new("eu-central-1", "123456789012"));
    let notes = ["team from --team".to_owned(), "local AWS".to_owned()];
    let page = PlanContext { spec: &spec, env: &env, notes: &notes, rows: Rows::Noteworthy, destroy: false };
    let refused = markdown::plan(&page, &varied());
    check(&refused, 5).unwrap();
    assert_snapshot!(refused, @r#"
    ### team `owls`, stack `main`

    account `123456789012`, region `eu-central-1` (team from --team, local AWS)

    **Refused: 1 resource is refused, so nothing can be applied.**

    | | resource | kind | name in AWS | |
    |---|---|---|---|---|
    | `~` | `todos` | `table` | `owls-todos` | will be updated in-place |
    | `<=` | `runner` | `role` | `runner` | is read |
    | `-/+` | `allow` | `permission` | `owls-allow` | must be replaced |
    | `-/+` | `pipe` | `mapping` |  | must be replaced |
    | `!` | `old` | `table` | `owls-old` | is refused |
    | `+` | `new` | `function` | `owls-new` | will be created |

    1 resource is unchanged.

    #### Notes
    - `old` is refused: adopting it would reset what the spec doesn't declare, and engine never does that
      - to keep it as it is, add to `old`:
        ```yaml
            stream_view_type: "NEW_IMAGE"
        ```
    - what is no longer in the spec was not looked for
    - `pipe`: a new mapping with TRIM&#95;HORIZON redelivers the stream's records from the last 24 hours
    - `pipe`: the function is not invoked until the new mapping is Enabled
    - `todos`: AWS can't change a stream's view type: engine disables the stream and enables a new one; writes during the switch (about ten seconds) create no records, and records that the old mapping has not read may be lost
    - `allow`: its principal has no permission to invoke the function until it is re-created

    <details>
    <summary>&#126; <code>todos</code>: 2 properties</summary>

    ```diff
    ~ stream_view_type = "NEW_AND_OLD_IMAGES" -> "KEYS_ONLY"
    ~ stream_arn       = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1" -> (known after apply)
    ```

    </details>

    <details>
    <summary>-/+ <code>allow</code>: 1 property</summary>

    ```diff
    ! source_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1" -> (known after apply) # forces replacement
    ```

    </details>

    <details>
    <summary>-/+ <code>pipe</code>: 1 property</summary>

    ```diff
    ! event_source_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/owls-todos/stream/1" -> (known after apply) # forces replacement
    ```

    </details>

    <details>
    <summary>&#33; <code>old</code>: 1 property</summary>

    ```diff
    ~ stream_view_type = "NEW_IMAGE" -> null
    ```

    </details>

    <details>
    <summary>+ <code>new</code>: 3 properties</summary>

    ```diff
    + code            = EDNcrtv3j+9K…
    + environment.KEY = (sensitive)
    + tags            = { note: "a | b `c` @owner <b>\n</details>" }
    ```

    </details>
    "#);
    let status = |status: &str| {
        let text = markdown::outcome(&page, &varied(), status, &[]);
        text.strip_prefix(&refused).unwrap().trim().to_owned()
    };
    assert_eq!(status("refused"), "Nothing was changed.");
    assert_eq!(status("declined"), "Nothing was changed: the plan was not confirmed.");
    assert_eq!(status("interrupted"), "Nothing was changed: the command was interrupted.");

    let plan = planned(
        &spec,
        "runner: { owner: nobody, outputs: { arn: 'arn:aws:iam::1:role/runner' } }",
        Goal::Present,
        Options::default(),
    );
    let endings = [
        StepOutcome::Done(Duration::from_secs(1)),
        StepOutcome::Failed(explained(AwsError::own(
            Code::AccessDenied,
            "CreateFunction",
            "owls-logger",
            "@admin says no | really",
        ))),
        StepOutcome::Skipped("logger".into()),
        StepOutcome::NotStarted,
    ];
    let planned = markdown::plan(&page, &plan);
    let failed = markdown::outcome(&page, &plan, "partial", &endings);
    check(&failed, 4).unwrap();
    assert_snapshot!(failed.strip_prefix(&planned).unwrap().trim(), @"
    #### Incomplete steps
    - **failed** (`access-denied`): create `logger`: AWS denied this call
      - &#64;&#8203;admin says no &#124; really; no policy allows your credentials to make this call
      - ask the account's administrator for the permission `lambda:CreateFunction` on `owls-logger`; <code>aws sts get-caller-identity</code> shows which identity made the call
    - skipped: create `allow`: it depends on `logger`
    - not run: create `pipe`

    **Apply incomplete: 1 added, 0 changed, 0 destroyed.** Run the same command again to continue.
    ");
    let endings = [(); 4].map(|()| StepOutcome::Done(Duration::from_secs(1)));
    let done = markdown::outcome(&page, &plan, "complete", &endings);
    assert_snapshot!(done.strip_prefix(&planned).unwrap().trim(), @"**Apply complete! Resources: 4 added, 0 changed, 0 destroyed.**");
    assert_eq!(markdown::outcome(&page, &of(Vec::new()), "complete", &[]), markdown::plan(&page, &of(Vec::new())));
}

/// Parses the frame of a comment as GitHub does: rows, fences and at most `folds` folds.
fn check(text: &str, folds: usize) -> Result<(), TestCaseError> {
    prop_assert!(text.chars().count() <= LIMIT, "{} characters", text.chars().count());
    let mut fence: Option<usize> = None;
    let (mut is_open, mut n_folds) = (false, 0);
    for line in text.lines() {
        let run = line.trim_start().chars().take_while(|c| *c == '`').count();
        match fence {
            Some(length) if run >= length && line.trim().len() == run => fence = None,
            Some(_) => {}
            // A run with another backtick after it on the line is a code span.
            None if run >= 3 && !line.trim_start()[run..].contains('`') => fence = Some(run),
            None => {
                match line {
                    "<details>" => {
                        prop_assert!(!is_open, "a fold in a fold");
                        (is_open, n_folds) = (true, n_folds + 1);
                    }
                    "</details>" => {
                        prop_assert!(is_open, "an end without a beginning");
                        is_open = false;
                    }
                    _ => {}
                }
                let known =
                    ["", "### ", "#### ", "account ", "**", "| ", "|---", "- ", "  - ", "<details>", "</details>"];
                let ours = ["<summary>", "… and ", "The properties of ", "Nothing was changed"];
                let counts = line.ends_with(" resources are unchanged.") || line.ends_with(" resource is unchanged.");
                let starts = |start: &&str| if start.is_empty() { line.is_empty() } else { line.starts_with(start) };
                prop_assert!(counts || known.iter().chain(&ours).any(starts), "a line from nowhere: {line:?}");
                let n_pipes = line.matches('|').count();
                prop_assert!(if line.starts_with('|') { n_pipes == 6 } else { n_pipes == 0 }, "{line:?}");
                prop_assert!(!line.contains('@') && !line.chars().any(char::is_control), "{line:?}");
                let mut bare = line.replace("`<=`", "");
                for tag in ["<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>"] {
                    bare = bare.replace(tag, "");
                }
                prop_assert!(!bare.contains('<'), "{line:?}");
            }
        }
    }
    prop_assert!(fence.is_none() && !is_open, "open at the end: {text}");
    prop_assert!(n_folds <= folds, "{n_folds}");
    Ok(())
}

#[test]
fn a_comment_is_never_too_long_and_reports_what_it_omits() {
    let (spec, env) = (load(PIPELINE), AwsEnv::new("eu-central-1", "123456789012"));
    let page = PlanContext { spec: &spec, env: &env, notes: &[], rows: Rows::All, destroy: false };
    let long = |size: usize| vec![property(&["description"], json!("old"), json!("x".repeat(size)))];
    let one = markdown::plan(&page, &of(vec![change("logger", Action::Update, long(70_000))]));
    check(&one, 1).unwrap();
    assert!(one.contains("… (70,002 characters)") && one.contains("<details>"), "{one}");

    let some = of((0..100).map(|at| change(&format!("r{at}"), Action::Update, long(900))).collect());
    let text = markdown::plan(&page, &some);
    check(&text, 100).unwrap();
    let n_folds = text.matches("<details>").count();
    assert!(n_folds > 20 && text.contains("| `r99` |"), "all rows before any details");
    let left_out = format!("The properties of {} resources are omitted", 100 - n_folds);
    assert!(text.contains(&left_out), "{left_out}: {text}");

    let mut many: Vec<Change> = (0..5000).map(|at| change(&format!("r{at}"), Action::Create, long(10))).collect();
    many[4999].action = Action::Delete;
    many[4998].remarks.push("it will be missed".into());
    let text = markdown::plan(&page, &of(many.clone()));
    check(&text, 0).unwrap();
    let n_rows = text.lines().filter(|line| line.starts_with("| `")).count();
    assert!(n_rows > 300 && text.contains("| `-` | `r4999` |"), "what is lost comes first");
    assert!(text.contains(&format!("\n… and 4,{:03} more\n", 5000 - n_rows - 4000)), "{n_rows}");
    assert!(text.contains("- `r4998`: it will be missed\n"));
    assert!(text.contains("The properties of 5,000 resources are omitted"));

    for change in &mut many {
        change.remarks = vec!["@".repeat(500), "lost `for` good".into()];
    }
    let steps = (0..5000).map(|change| Step { op: Op::Create, change, after: Vec::new(), pair: None }).collect();
    let endings = vec![StepOutcome::Skipped("`".repeat(300)); 5000];
    let text = markdown::outcome(&page, &Plan { changes: many, steps, ..Plan::default() }, "partial", &endings);
    check(&text, 0).unwrap();
    assert_eq!(text.matches("\n- … and ").count(), 2, "{text}");
    assert!(text.contains("**Apply incomplete: 0 added"));
}

#[test]
fn text_to_copy_cannot_escape_its_fence() {
    let (spec, env) = (load(PIPELINE), AwsEnv::new("eu-central-1", "123456789012"));
    let page = PlanContext { spec: &spec, env: &env, notes: &[], rows: Rows::All, destroy: false };
    let hint = Some("keep it:\n```\n@owner\n    ````\n~~~".into());
    let refused = Change { hint, reason: Some("no".into()), ..change("old", Action::Refused, Vec::new()) };
    let text = markdown::plan(&page, &of(vec![refused]));
    check(&text, 0).unwrap();
    assert!(text.contains("\n    `````yaml\n    ```\n    @owner\n        ````\n    ~~~\n    `````\n"), "{text}");
}

/// Pieces with a special meaning in Markdown, in HTML or on GitHub.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = select(vec![
        "|",
        "`",
        "``",
        "```",
        "````",
        "~~~",
        "\n",
        "\r\n",
        "\\",
        "\\|",
        "@owner",
        "#1",
        "<b>",
        "</details>",
        "<!--",
        "<details>",
        "</code>",
        "&#124;",
        "](http://x)",
        "![",
        "**",
        "_",
        "- ",
        "1. ",
        "> ",
        "$x$",
        "\u{202e}",
        "\0",
        "é",
        "name",
        " ",
        "    ",
        "\t",
        "https://x.y",
        "todos",
    ]);
    let short = prop::collection::vec(pieces, 0..8).prop_map(|it| it.concat());
    (short, prop_oneof![29 => Just(1_usize), 1 => 1..500_usize]).prop_map(|(text, times)| text.repeat(times))
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        hostile().prop_map(Value::String),
        Just(unknown()),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(hostile(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

fn changes() -> impl Strategy<Value = Change> {
    let actions = select(vec![
        Action::None,
        Action::Create,
        Action::Update,
        Action::Replace,
        Action::Delete,
        Action::Adopt,
        Action::Import,
        Action::Refused,
    ]);
    let effects = select(vec![Effect::InPlace, Effect::Replace, Effect::refuse("no")]);
    let paths =
        prop_oneof![Just(Path::property("code_sha256")), hostile().prop_map(|key| Path::property("tags").key(&key))];
    let properties =
        (paths, values(), values(), effects, any::<bool>()).prop_map(|(path, before, after, effect, sensitive)| {
            PropertyChange { path, before, after, effect, sensitive, is_default: false }
        });
    let words = || prop::option::of(hostile());
    let properties = prop::collection::vec(properties, 0..5);
    let texts = (words(), words(), prop::collection::vec(hostile(), 0..3));
    (hostile(), hostile(), actions, properties, texts, any::<[bool; 2]>()).prop_map(
        |(resource, name, action, properties, (reason, hint, remarks), [asks, pending])| Change {
            name,
            reason: reason.map(Advice::from),
            hint: hint.map(Advice::from),
            remarks,
            needs_approval: asks,
            pending,
            ..change(&resource, action, properties)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn no_plan_breaks_a_comment(
        changes in prop::collection::vec(changes(), 0..12),
        copies in prop_oneof![9 => Just(1_usize), 1 => 1..200_usize],
        remarks in prop::collection::vec(hostile(), 0..3),
        notes in prop::collection::vec(hostile(), 0..3),
        owner in (hostile(), hostile()),
        ends in prop::collection::vec((any::<Index>(), hostile(), 0..4), 0..6),
        shape in any::<[bool; 2]>(),
    ) {
        let n_changes = changes.len() * copies;
        let changes: Vec<Change> = changes.into_iter().cycle().take(n_changes).collect();
        let spec = Spec::declare((&owner.0, &owner.1), Vec::new()).unwrap();
        let env = AwsEnv::new("eu-central-1", "123456789012");
        let [all, destroy] = shape;
        let rows = if all { Rows::All } else { Rows::Noteworthy };
        let page = PlanContext { spec: &spec, env: &env, notes: &notes, rows, destroy };
        let ends = if n_changes == 0 { Vec::new() } else { ends };
        let steps = ends.iter().map(|(at, ..)| Step { op: Op::Create, change: at.index(n_changes), after: Vec::new(), pair: None });
        let remarks = remarks.into_iter().map(Advice::from).collect();
        let plan = Plan { steps: steps.collect(), changes, remarks };
        let endings: Vec<StepOutcome> = ends.into_iter().map(|(_, text, how)| match how {
            0 => StepOutcome::Done(Duration::ZERO),
            1 => StepOutcome::Failed(AwsError::own(Code::AccessDenied, "CreateTable", "x", text.as_str())),
            2 => StepOutcome::Skipped(text),
            _ => StepOutcome::NotStarted,
        }).collect();
        check(&markdown::plan(&page, &plan), n_changes)?;
        check(&markdown::outcome(&page, &plan, "partial", &endings), n_changes)?;
    }
}
