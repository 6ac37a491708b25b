//! A function without `role:`: engine creates one with what the pipeline needs, keeps it that way,
//! and deletes it with the function.

use super::project::{Project, config};
use super::{ACCOUNT, NO_CHANGES, ROLE, TEAM};

const OWN: &str = "blue-owls-logger-role";
const BY_HAND: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// The pipeline without a role, and a queue.
fn project() -> Project {
    let project = Project::new();
    let text = project.read(TEAM);
    let (head, rest) = text.split_once("resources:\n").unwrap();
    let rest: Vec<&str> = rest.lines().filter(|line| !line.contains("role: ${execution-role.arn}")).collect();
    let rest =
        rest.join("\n").replace("type: role\n    import: fhms-pulumi-challenge-lambda-execution-role", "type: queue");
    project.write(TEAM, &format!("{head}resources:\n{}\n", rest.replace("  execution-role:", "  jobs:")));
    project
}

#[test]
fn a_function_without_a_role_gets_one_that_follows_the_spec() {
    let project = project();
    let run = |args: &[&str]| project.run(&[args, &["--local"]].concat());
    let check = || run(&["diff", TEAM, "--detailed-exitcode"]).expect(0, &[NO_CHANGES]);
    let added = ["`logger` writes its log", "6 added, 0 changed, 0 destroyed."];
    run(&["apply", TEAM, "--yes"]).expect(0, &added);
    check();
    run(&["verify", TEAM, "--yes"]).expect(0, &[]);

    let aws = project.account(ACCOUNT);
    let iam = aws_sdk_iam::Client::new(&config(&project.endpoint(), ACCOUNT));
    let policy = || {
        let answer = aws.wait(iam.get_role_policy().role_name(OWN).policy_name("engine").send());
        percent_encoding::percent_decode_str(&answer.policy_document).decode_utf8().unwrap().into_owned()
    };
    assert!(policy().contains("dynamodb:GetRecords") && !policy().contains("sqs:"), "{}", policy());

    project.edit(TEAM, &[("handler: index.handler", "handler: index.handler\n    access: { jobs: send }")]);
    run(&["diff", TEAM]).expect(0, &["policy.Access", "`logger` has `access: { jobs: send }`"]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    check();
    assert!(policy().contains("sqs:SendMessage"), "{}", policy());

    // What is attached by hand is only detached after approval, unless it is ignored.
    aws.wait(iam.attach_role_policy().role_name(OWN).policy_arn(BY_HAND).send());
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}"#;
    aws.wait(iam.put_role_policy().role_name(OWN).policy_name("by-hand").policy_document(document).send());
    let lost = [
        "the managed policy `arn:aws:iam::aws:policy/AdministratorAccess` will be detached",
        "the inline policy `by-hand` will be deleted",
    ];
    run(&["diff", TEAM]).expect(0, &lost);
    run(&["apply", TEAM]).expect(1, &lost);
    let attached = || {
        let answer = aws.wait(iam.list_attached_role_policies().role_name(OWN).send());
        answer.attached_policies.unwrap_or_default().len()
    };
    assert_eq!(attached(), 1);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 0 destroyed."]);
    assert_eq!(attached(), 0);
    check();

    // Another role for the function: the implied one is deleted after it.
    let import = format!("  shared: {{ type: role, import: {ROLE} }}\n");
    let uses = "role: ${shared.arn}\n    code: ../";
    project.edit(TEAM, &[("resources:\n", &format!("resources:\n{import}")), ("code: ../", uses)]);
    project.edit(TEAM, &[("    access: { jobs: send }\n", "")]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["0 added, 1 changed, 1 destroyed."]);
    assert!(iam_has_no(&aws, &iam), "the implied role is deleted");
    check();

    project.edit(TEAM, &[(&import, ""), ("    role: ${shared.arn}\n", "")]);
    run(&["apply", TEAM, "--yes"]).expect(0, &["1 added, 1 changed, 0 destroyed."]);
    run(&["destroy", TEAM, "--yes"]).expect(0, &["Destroy complete! Resources: 6 destroyed."]);
    assert!(iam_has_no(&aws, &iam), "nothing is left");
    aws.wait(iam.get_role().role_name(ROLE).send());
}

fn iam_has_no(aws: &super::Account, iam: &aws_sdk_iam::Client) -> bool {
    let roles = aws.wait(iam.list_roles().send()).roles;
    roles.iter().all(|role| role.role_name != OWN)
}
