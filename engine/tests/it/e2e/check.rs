//! `check` of a real role in the local AWS.

use super::TEAM;
use super::project::{ACCOUNT, Project};

const ROLE: &str = "fhms-pulumi-challenge-lambda-execution-role";

#[test]
fn a_role_that_lambda_cannot_assume_is_reported_before_any_creation() {
    let project = Project::new();
    let check = || project.run(&["check", TEAM, "--local"]);
    check().expect(0, &["Ready to apply: no problems found", "Couldn't check permissions"]);
    let aws = project.account(ACCOUNT);
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},
        "Action":"sts:AssumeRole"}]}"#;
    aws.wait(aws.iam.update_assume_role_policy().role_name(ROLE).policy_document(trust).send());
    // The role is less than a minute old, so its creator may still change it: only a warning.
    let told = check().expect(0, &["Ready to apply, with 1 warning"]);
    assert!(told.err.contains("warning[role-not-assumable]: Lambda can't assume the role"), "{}", told.err);
    assert!(told.err.contains("import: fhms-pulumi"), "{}", told.err);
    let applied = project.run(&["apply", TEAM, "--local"]).expect(0, &["Apply complete!"]);
    assert!(applied.err.contains("warning[role-not-assumable]: Lambda can't assume the role"), "{}", applied.err);
    assert_eq!(aws.tags().len(), 3);
    // Without a write there is no warning.
    let again = project.run(&["apply", TEAM, "--local"]).expect(0, &["No changes."]);
    assert!(!again.err.contains("warning"), "{}", again.err);
}
