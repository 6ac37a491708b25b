//! The code of an existing function, as a spec names it.
//!
//! **Invariant:** an archive is exactly what Lambda runs: its hash is checked.

use base64::Engine as _;
use engine_core::kind::Exported;
use sha2::{Digest as _, Sha256};

use crate::aws::{AwsError, CallContext, Context};
use crate::schema::Id;
use crate::value::{Tree, Value};

use super::reference::{self, IMAGE, SIGNING, SOURCE};

/// How a spec names the code of a function with these properties.
pub(super) fn exported(live: &Tree) -> Exported {
    let code = |form: &str, value: Value| Exported {
        properties: Tree::from([("code".to_owned(), Value::Map(Tree::from([(form.to_owned(), value)])))]),
        ..Exported::default()
    };
    if let Some(Value::Map(image)) = live.get(IMAGE) {
        return code(IMAGE, reference::written_image(image));
    }
    let source = live.get(SOURCE).and_then(Value::as_str).and_then(reference::written_object);
    if let Some(object) = source {
        return code("s3", object);
    }
    let is_signed = live.get(SIGNING).is_some_and(|it| *it != Value::Null);
    let why = "engine doesn't sign the packages that it uploads".to_owned();
    let ignored = is_signed.then(|| (SIGNING.into(), why)).into_iter().collect();
    Exported { package: Some("code".into()), ignored, ..Exported::default() }
}

/// The archive that a function runs.
pub(super) async fn download(cx: &Context, id: &Id) -> Result<Vec<u8>, AwsError> {
    const OPERATION: &str = "GetFunction";
    let answer = cx.aws.lambda.get_function().function_name(&id.name).send().await.context(OPERATION, &id.name)?;
    let address =
        answer.code.and_then(|code| code.location).ok_or_else(|| super::super::not_sent(OPERATION, &id.name))?;
    let archive = cx.aws.downloads.get(&address, OPERATION, &id.name).await?;
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&archive));
    if answer.configuration.as_ref().and_then(|it| it.code_sha256()) != Some(hash.as_str()) {
        let message = "the code changed during the download";
        return Err(AwsError::changed(OPERATION, &id.name, message));
    }
    Ok(archive)
}
