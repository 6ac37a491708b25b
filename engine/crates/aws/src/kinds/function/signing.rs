//! The code signing configuration of a function.
//!
//! **Invariant:** it is attached and detached before code is deployed, so that Lambda checks the new
//! code by the rules that the spec wants.

use std::sync::LazyLock;

use crate::aws::{AwsError, CallContext, Context, Existing};
use crate::kinds::removal_loss;
use crate::schema::{Id, Locality, Property, Shape, Text, property};

use super::BUSY;
use super::reference::SIGNING;

const UNCHECKED: &str = "Lambda no longer checks who signed its code";

/// docs.aws.amazon.com/lambda/latest/api/API_PutFunctionCodeSigningConfig.html
static ARN: LazyLock<Text> = LazyLock::new(|| {
    let expected =
        "the ARN of a code signing configuration (`arn:aws:lambda:region:account:code-signing-config:csc-…`)";
    Text::new(1..=200, expected, |text| {
        crate::kinds::text::is_arn(text, "lambda") && text.contains(":code-signing-config:csc-")
    })
});

pub(super) fn signing() -> Property {
    let doc = "ARN of the code signing configuration that checks the code in S3";
    property(SIGNING, Shape::Text(ARN.clone()), doc)
        .in_locality(Locality::Region)
        .destructive_notes(removal_loss(UNCHECKED))
}

/// The current configuration; `None` if the function has none, or doesn't exist.
pub(super) async fn read(cx: &Context, id: &Id) -> Result<Option<String>, AwsError> {
    let request = cx.aws.lambda.get_function_code_signing_config().function_name(&id.name);
    let answer = request.send().await.context("GetFunctionCodeSigningConfig", &id.name);
    Ok(answer.if_exists()?.map(|it| it.code_signing_config_arn).filter(|arn| !arn.is_empty()))
}

/// Attaches or, with `None`, detaches it.
pub(super) async fn write(cx: &Context, id: &Id, arn: Option<&str>) -> Result<(), AwsError> {
    let send = || async {
        let lambda = &cx.aws.lambda;
        match arn {
            Some(arn) => {
                let request = lambda.put_function_code_signing_config().function_name(&id.name);
                let request = request.code_signing_config_arn(arn);
                request.send().await.context("PutFunctionCodeSigningConfig", &id.name).map(|_| ())
            }
            None => {
                let request = lambda.delete_function_code_signing_config().function_name(&id.name);
                request.send().await.context("DeleteFunctionCodeSigningConfig", &id.name).if_deleted()
            }
        }
    };
    cx.send(BUSY, &id.name, send).await
}
