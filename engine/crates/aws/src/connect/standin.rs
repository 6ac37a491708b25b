//! Stand-ins in the local AWS for the roles that a spec imports; on AWS they already exist.
//!
//! **Invariant:** talks only to this machine. It uses a separate client, because engine's own
//! refuses each write to a role.

use aws_sdk_iam::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::Builder as HttpBuilder;

use super::LocalSettings;
use crate::answer::{AwsError, CallContext, Code, Existing};
use crate::spec::Spec;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// The permissions of AWS's managed policy `AWSLambdaDynamoDBExecutionRole`.
const RIGHTS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator","dynamodb:ListStreams","logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"*"}]}"#;

/// Creates each imported role of `spec` that is missing in the local AWS, and returns the names of
/// the created ones.
///
/// # Errors
/// `Guarded` if the endpoint is not on this machine; errors of the local AWS.
pub async fn ensure_roles(settings: &LocalSettings, spec: &Spec) -> Result<Vec<String>, AwsError> {
    let loopback = settings.endpoint_url.starts_with("http://127.0.0.1:");
    if !loopback {
        return Err(AwsError::own(Code::Guarded, "", "", "stand-ins for roles are only created in the local AWS"));
    }
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(Credentials::new(settings.access_key_id(), "local", None, None, "local"))
        .endpoint_url(&settings.endpoint_url)
        .http_client(HttpBuilder::new().build_http())
        .build();
    let iam = aws_sdk_iam::Client::from_conf(config);
    let mut made = Vec::new();
    let named = spec.resources.iter().filter(|declared| !spec.unnamed_imports.contains_key(&declared.name));
    for role in named.filter(|declared| declared.imported && declared.schema().kind == "role") {
        let name = &role.id.name;
        if iam.get_role().role_name(name).send().await.context("GetRole", name).if_exists()?.is_some() {
            continue;
        }
        let path = role.id.arn.as_deref().and_then(path_in_arn);
        let create = iam.create_role().role_name(name).set_path(path).assume_role_policy_document(TRUST);
        match create.send().await.context("CreateRole", name) {
            Ok(_) => made.push(name.clone()),
            // Another run has created it in the meantime.
            Err(error) if error.is(Code::NameTaken) => {}
            Err(error) => return Err(error),
        }
        let rights = iam.put_role_policy().role_name(name).policy_name("stream-and-logs").policy_document(RIGHTS);
        rights.send().await.context("PutRolePolicy", name)?;
    }
    Ok(made)
}

/// `/team/` in `arn:aws:iam::1:role/team/runner`.
fn path_in_arn(arn: &str) -> Option<String> {
    let (_, path_and_name) = arn.split_once(":role")?;
    let (path, _) = path_and_name.rsplit_once('/')?;
    Some(format!("{path}/"))
}
