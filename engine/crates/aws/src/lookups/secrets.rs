//! Secrets of Secrets Manager
//! (docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html).

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use engine_core::lookup::{LookupAnswer, LookupRead};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::answer::{AwsError, Existing};
use crate::connect::Input;
use crate::schema::Text;
use crate::value::Value;

use super::{LookupResult, SECRETS, garbled, unusable};

const GET: &str = "GetSecretValue";

/// A name, or an ARN with the six characters at its end: without them, it may match another secret
/// (docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html).
pub(super) fn name() -> Text {
    Text::new(1..=2048, "a secret's name, or its complete ARN", |text| match text.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":secret:").is_some_and(|(_, name)| {
            let end = name.rsplit_once('-').map_or("", |(_, end)| end);
            is_plain(name) && end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }),
        None => text.len() <= 512 && is_plain(text),
    })
}

fn is_plain(name: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'+' | b'=' | b'.' | b'@' | b'-');
    name.bytes().all(is_allowed)
}

/// A secret's value, which is never shown.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    secret_string: Option<String>,
}

/// Reads secrets, each once.
pub(super) async fn read(sdk: &SdkConfig, reads: Vec<&LookupRead>) -> Vec<(LookupRead, LookupResult)> {
    let names: BTreeSet<&str> = reads.iter().map(|read| read.name.as_str()).collect();
    let found = join_all(names.into_iter().map(|name| async move { (name, get(sdk, name).await) })).await;
    let found: BTreeMap<&str, Result<Option<Response>, AwsError>> = found.into_iter().collect();
    let of = |read: &LookupRead| match found.get(read.name.as_str())? {
        Ok(Some(response)) => Some(answer(read, response).map(Some)),
        Ok(None) => Some(Ok(None)),
        Err(error) => Some(Err(error.clone())),
    };
    reads.into_iter().filter_map(|read| Some((read.clone(), of(read)?))).collect()
}

async fn get(sdk: &SdkConfig, name: &str) -> Result<Option<Response>, AwsError> {
    let body = SECRETS.call(sdk, GET, name, Input::Json(json!({ "SecretId": name }))).await.if_exists()?;
    // serde's message is omitted, because it could quote the value.
    body.map(|body| serde_json::from_str(&body).map_err(|_| garbled(GET, name))).transpose()
}

/// The value of a secret, or of one of its keys.
fn answer(read: &LookupRead, response: &Response) -> Result<LookupAnswer, AwsError> {
    let name = &read.name;
    let Some(text) = &response.secret_string else {
        let remedy = "store it as text (SecretString), or let the function's code read it";
        return Err(unusable(GET, name, "it is binary, and only text can be used in a spec", remedy));
    };
    let Some(key) = &read.part else {
        let from = format!("secret `{name}`");
        return Ok(LookupAnswer { value: Value::String(text.clone()), is_secret: true, from });
    };
    let from = format!("key `{key}` of the secret `{name}`");
    let Ok(Json::Object(object)) = serde_json::from_str(text) else {
        let remedy = "remove `key:` to use all of it, or store a JSON object";
        return Err(unusable(GET, name, format!("it is not a JSON object, so it has no key `{key}`"), remedy));
    };
    match object.get(key.as_str()) {
        None => {
            Err(unusable(GET, name, format!("it has no key `{key}`"), "correct `key:`, or add the key to the secret"))
        }
        Some(Json::String(text)) => Ok(LookupAnswer { value: Value::String(text.clone()), is_secret: true, from }),
        Some(value @ (Json::Number(_) | Json::Bool(_))) => {
            Ok(LookupAnswer { value: Value::String(value.to_string()), is_secret: true, from })
        }
        Some(_) => {
            let why = format!("the value of its key `{key}` is not text, a number or a boolean");
            Err(unusable(GET, name, why, "store it as text, or use another key"))
        }
    }
}
