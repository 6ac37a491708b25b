//! SSM parameters (docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html).

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use engine_core::lookup::{LookupAnswer, LookupRead};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;

use crate::answer::AwsError;
use crate::connect::Input;
use crate::schema::Text;
use crate::value::Value;

use super::{LookupResult, SSM, garbled};

const GET: &str = "GetParameters";
/// The maximum number of names in a call.
const MAX_NAMES: usize = 10;
/// Secrets read through SSM have a source of their own.
const SECRETS: &str = "/aws/reference/secretsmanager/";

/// A name, with a version or label if needed, or an ARN (API_GetParameters.html, "Names").
pub(super) fn name() -> Text {
    Text::new(1..=2048, "a parameter's name, with `:VERSION` or `:LABEL` if needed, or its ARN", |text| {
        let is_plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/'))
        };
        let (name, label) = split(text);
        let bare = match name.strip_prefix("arn:") {
            Some(arn) => arn.split_once(":parameter/").map_or("", |(_, name)| name),
            None => name,
        };
        is_plain(bare) && label.is_none_or(is_plain) && !name.starts_with(SECRETS)
    })
}

/// The name without its version or label, and that.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    // The fields of an ARN are separated by colons too.
    let start = text.find(":parameter/").map_or(0, |at| at + ":parameter/".len());
    match text.get(start..).and_then(|name| name.find(':')) {
        Some(at) => (text.get(..start + at).unwrap_or(text), text.get(start + at + 1..)),
        None => (text, None),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    invalid_parameters: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    name: String,
    r#type: String,
    value: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    selector: String,
    #[serde(default, rename = "ARN")]
    arn: String,
}

impl Parameter {
    /// Whether it is the one with this name.
    fn is(&self, asked: &str) -> bool {
        let (name, _) = split(asked);
        (name == self.name || name == self.arn)
            && (asked == name || self.selector.is_empty() || asked.ends_with(&self.selector))
    }

    fn answer(self) -> LookupAnswer {
        let value = match self.r#type.as_str() {
            "StringList" => Value::List(self.value.split(',').map(|item| Value::String(item.to_owned())).collect()),
            _ => Value::String(self.value),
        };
        // What isn't known to be public is treated as secret.
        let is_secret = !matches!(self.r#type.as_str(), "String" | "StringList");
        LookupAnswer { value, is_secret, from: format!("SSM parameter `{}`, version {}", self.name, self.version) }
    }
}

/// Reads parameters, ten in a call.
pub(super) async fn read(sdk: &SdkConfig, reads: Vec<&LookupRead>) -> Vec<(LookupRead, LookupResult)> {
    let found = join_all(batches(&reads).into_iter().map(|names| batch(sdk, names))).await;
    let found: BTreeMap<&str, LookupResult> = found.into_iter().flatten().collect();
    let of = |read: &LookupRead| found.get(read.name.as_str()).cloned();
    reads.into_iter().filter_map(|read| Some((read.clone(), of(read)?))).collect()
}

/// The names in as few calls as possible; AWS allows a parameter only once in a call.
fn batches<'r>(reads: &[&'r LookupRead]) -> Vec<Vec<&'r str>> {
    let mut batches: Vec<Vec<&str>> = Vec::new();
    for read in reads {
        let name = read.name.as_str();
        if batches.iter().flatten().any(|other| *other == name) {
            continue;
        }
        let has_room = |batch: &&mut Vec<&str>| {
            batch.len() < MAX_NAMES && batch.iter().all(|other| split(other).0 != split(name).0)
        };
        match batches.iter_mut().find(has_room) {
            Some(batch) => batch.push(name),
            None => batches.push(vec![name]),
        }
    }
    batches
}

/// One call; if AWS refuses it for one of its names, one for each of them.
async fn batch<'r>(sdk: &SdkConfig, names: Vec<&'r str>) -> Vec<(&'r str, LookupResult)> {
    match get(sdk, &names).await {
        Ok(response) => assigned(response, &names),
        Err(error) if names.len() > 1 && (error.is_denied() || error.is_final) => {
            let each = names.into_iter().map(|name| async move {
                match get(sdk, &[name]).await {
                    Ok(response) => assigned(response, &[name]),
                    Err(error) => vec![(name, Err(error))],
                }
            });
            join_all(each).await.into_iter().flatten().collect()
        }
        Err(error) => names.into_iter().map(|name| (name, Err(error.clone()))).collect(),
    }
}

async fn get(sdk: &SdkConfig, names: &[&str]) -> Result<Response, AwsError> {
    let about = names.join(", ");
    // Without decryption, AWS returns the ciphertext of a SecureString.
    let input = Input::Json(json!({ "Names": names, "WithDecryption": true }));
    let body = SSM.call(sdk, GET, &about, input).await?;
    // serde's message is omitted, because it could quote a value.
    serde_json::from_str(&body).map_err(|_| garbled(GET, &about))
}

/// What the response says about each name.
fn assigned<'r>(response: Response, names: &[&'r str]) -> Vec<(&'r str, LookupResult)> {
    let Response { mut parameters, invalid_parameters } = response;
    let found = names.iter().map(|name| {
        let at = parameters.iter().position(|parameter| parameter.is(name));
        let found = match at.map(|at| parameters.swap_remove(at)) {
            Some(parameter) => Ok(Some(parameter.answer())),
            None if invalid_parameters.iter().any(|missing| missing == name) => Ok(None),
            None => Err(garbled(GET, name)),
        };
        (*name, found)
    });
    found.collect()
}
