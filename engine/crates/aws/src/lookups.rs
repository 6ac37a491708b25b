//! The sources of lookups: SSM parameters, secrets of Secrets Manager, and exports and outputs of
//! CloudFormation stacks.
//!
//! **Invariant:** a secret value is in no error, and only a name that AWS says doesn't exist counts
//! as missing.

mod cloudformation;
mod operations;
mod secrets;
mod ssm;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use engine_core::lookup::{LookupAnswer, LookupAnswers, LookupRead, LookupSource};

use crate::answer::{AwsError, Code, ErrorRow};
use crate::connect::{Protocol, UntypedService};
use crate::operation::Service;
use crate::schema::Text;

pub(crate) use cloudformation::SharedStacks;
pub(crate) use operations::OPERATIONS;

/// docs.aws.amazon.com/systems-manager/latest/APIReference
const SSM: UntypedService = UntypedService { service: Service::SSM, id: "SSM", protocol: Protocol::Json("AmazonSSM") };
/// docs.aws.amazon.com/secretsmanager/latest/apireference
const SECRETS: UntypedService = UntypedService {
    service: Service::SECRETS_MANAGER,
    id: "Secrets Manager",
    protocol: Protocol::Json("secretsmanager"),
};
/// docs.aws.amazon.com/AWSCloudFormation/latest/APIReference
const STACKS: UntypedService =
    UntypedService { service: Service::CLOUDFORMATION, id: "CloudFormation", protocol: Protocol::Query("2010-05-15") };

/// The keys of the sources in a lookup.
const SSM_KEY: &str = "ssm";
const SECRET_KEY: &str = "secret";
const EXPORT_KEY: &str = "cfn_export";
const OUTPUT_KEY: &str = "cfn_output";

/// What a read found: the value, or `None` if nothing has that name.
type LookupResult = Result<Option<LookupAnswer>, AwsError>;

/// What the answers mean that only these services give.
pub(crate) const ERRORS: &[ErrorRow] = &[
    // A secret that exists and has no value yet isn't missing.
    ErrorRow::of(&["ResourceNotFoundException"])
        .saying(&["staging label"])
        .to("GetSecretValue")
        .means_refusal(Code::Rejected),
    ErrorRow::of(&["ValidationError"]).saying(&["does not exist"]).to("DescribeStacks").means(Code::NotFound),
];

/// The sources, for specs and documentation.
pub fn sources() -> Vec<LookupSource> {
    vec![
        LookupSource {
            key: SSM_KEY.into(),
            what: "an SSM parameter".into(),
            doc: "the name of an SSM parameter, or several names of which the first that exists counts".into(),
            name: ssm::name(),
            example: "/my-app/api-url".into(),
            takes_list: true,
            part: None,
            is_secret: false,
        },
        LookupSource {
            key: SECRET_KEY.into(),
            what: "a secret".into(),
            doc: "the name or ARN of a secret in Secrets Manager".into(),
            name: secrets::name(),
            example: "my-app/github".into(),
            takes_list: false,
            part: Some(("key".into(), "the key whose value is used, if the secret is a JSON object".into())),
            is_secret: true,
        },
        LookupSource {
            key: EXPORT_KEY.into(),
            what: "a CloudFormation export".into(),
            doc: "the name of an export of a CloudFormation stack".into(),
            name: Text::new(1..=255, "letters, digits, `:` and `-`", |text| {
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-'))
            }),
            example: "network-vpc".into(),
            takes_list: false,
            part: None,
            is_secret: false,
        },
        LookupSource {
            key: OUTPUT_KEY.into(),
            what: "a stack output".into(),
            doc: "an output of a CloudFormation stack, as STACK.OUTPUT".into(),
            name: Text::new(3..=384, "STACK.OUTPUT", |text| cloudformation::stack_and_output(text).is_some()),
            example: "my-stack.TableName".into(),
            takes_list: false,
            part: None,
            is_secret: false,
        },
    ]
}

/// Reads values of one source.
///
/// # Errors
/// What a retry may fix, and what every call has in common. Other errors are those of a read.
pub(crate) async fn read(
    sdk: &SdkConfig,
    shared: &SharedStacks,
    reads: &[LookupRead],
) -> Result<LookupAnswers, AwsError> {
    let mut by_source: BTreeMap<&str, Vec<&LookupRead>> = BTreeMap::new();
    for read in reads {
        by_source.entry(&read.source).or_default().push(read);
    }
    let of = |source: &str| by_source.get(source).cloned().unwrap_or_default();
    let (parameters, secrets, exports, outputs) = tokio::join!(
        ssm::read(sdk, of(SSM_KEY)),
        secrets::read(sdk, of(SECRET_KEY)),
        cloudformation::exports(sdk, shared, of(EXPORT_KEY)),
        cloudformation::outputs(sdk, shared, of(OUTPUT_KEY)),
    );
    let mut answers = LookupAnswers::new();
    for (read, found) in parameters.into_iter().chain(secrets).chain(exports).chain(outputs) {
        match found {
            Err(error) if error.is(Code::Throttled) || error.is_ambiguous() || error.is_about_the_run() => {
                return Err(error);
            }
            found => drop(answers.insert(read, found)),
        }
    }
    Ok(answers)
}

/// The error of a value that exists and can't be used.
fn unusable(operation: &str, name: &str, why: impl Into<String>, remedy: &str) -> AwsError {
    AwsError::refused(Code::LookupUnusable, operation, name, "the value can't be used")
        .with_reason(why.into(), remedy.to_owned())
}

/// The error of a response without what its operation returns.
fn garbled(operation: &str, name: &str) -> AwsError {
    AwsError::own(Code::NotAws, operation, name, "the response doesn't have the form that AWS documents")
}
