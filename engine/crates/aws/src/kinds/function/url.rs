//! A function's URL: its own HTTPS address.
//!
//! **Invariant:** an update sends only what changed, because Lambda keeps what it omits
//! (docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionUrlConfig.html).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_sdk_lambda::types::{Cors as SentCors, FunctionUrlAuthType, InvokeMode};
use engine_core::kind::ImpliedResource;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::aws::{AwsError, CallContext, Context, Existing};
use crate::kinds::{Delta, differing, ensure_matches, open, removal_loss};
use crate::schema::{Id, Outputs, Property, Shape, Str, Text, property};
use crate::spec::ResourceDecl;
use crate::value::{Path, Tree, Value};

use super::{BUSY, once};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FunctionUrl {
    auth_type: String,
    cors: Option<Cors>,
    invoke_mode: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cors {
    allow_credentials: bool,
    allow_headers: BTreeSet<String>,
    allow_methods: BTreeSet<String>,
    allow_origins: BTreeSet<String>,
    expose_headers: BTreeSet<String>,
    max_age: i32,
}

/// The name of the property and of the output.
pub(super) const URL: &str = "url";
const AUTH_TYPE: &str = "auth_type";
const CORS: &str = "cors";
/// Without authentication.
const PUBLIC: &str = "NONE";
const BUFFERED: &str = "BUFFERED";
/// Lambda assigns the host name at random
/// (docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html).
const LOST_ADDRESS: &str = "its URL stops working, and a new one would have another host name";

/// docs.aws.amazon.com/lambda/latest/api/API_Cors.html
static METHOD: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=6, "an HTTP method in capital letters, like `GET`, or `*` for all", |text| {
        text == "*" || text.bytes().all(|byte| byte.is_ascii_uppercase())
    })
});
static ORIGIN: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=253, "an origin like `https://example.com`, or `*` for all", |text| {
        text == "*" || (text.contains("://") && !text.contains(char::is_whitespace))
    })
});
static HEADER: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=1024, "the name of an HTTP header, or `*` for all", |text| !text.contains([' ', ':']))
});

/// docs.aws.amazon.com/lambda/latest/api/API_CreateFunctionUrlConfig.html
pub(super) fn url() -> Property {
    let members = vec![
        property(
            AUTH_TYPE,
            Shape::choice(["AWS_IAM", PUBLIC]),
            "`AWS_IAM`: callers sign requests and need permission; `NONE`: anyone on the internet can invoke the function",
        )
        .required()
        .no_references(),
        property(CORS, Shape::Record(cors()), "which web pages of other origins can call it").no_references(),
        property(
            "invoke_mode",
            open(&[BUFFERED, "RESPONSE_STREAM"]),
            "`RESPONSE_STREAM` sends a response while the function writes it",
        )
        .default(BUFFERED),
    ];
    property(URL, Shape::Record(members), "an HTTPS address of the function's own")
        .separate_read()
        .exposes(exposure)
        .destructive_notes(removal_loss(LOST_ADDRESS))
}

/// docs.aws.amazon.com/lambda/latest/api/API_Cors.html
fn cors() -> Vec<Property> {
    let set = |item: &Text, max| Shape::Set { item: Box::new(Shape::Text(item.clone())), max };
    let texts = |name: &'static str, item: &Text, max, doc: &'static str| {
        property(name, set(item, max), doc).no_references().default(json!([]))
    };
    vec![
        property("allow_credentials", Shape::Bool, "allow cookies and other credentials").default(false),
        texts("allow_headers", &HEADER, 100, "headers that requests can have"),
        texts("allow_methods", &METHOD, 6, "methods that requests can have"),
        texts("allow_origins", &ORIGIN, 100, "origins that can call it"),
        texts("expose_headers", &HEADER, 100, "headers of responses that pages can read"),
        property("max_age", Shape::Integer { min: 0, max: 86_400 }, "seconds for which browsers cache these settings")
            .default(0),
    ]
}

/// Whom a new value lets in.
fn exposure(before: &Value, after: &Value) -> Option<Str> {
    (is_public(after) && !is_public(before)).then(|| "anyone on the internet can invoke it, without credentials".into())
}

fn is_public(url: &Value) -> bool {
    matches!(url, Value::Map(url) if url.get(AUTH_TYPE).and_then(Value::as_str) == Some(PUBLIC))
}

/// Lambda shows settings that allow nothing as none.
pub(super) fn normalize(desired: &mut Tree) {
    let Some(Value::Map(url)) = desired.get_mut(URL) else { return };
    let is_default =
        |cors: &Value| serde_json::from_value(Json::from(cors)).is_ok_and(|cors: Cors| cors == Cors::default());
    if url.get(CORS).is_some_and(|cors| matches!(cors, Value::Map(_)) && is_default(cors)) {
        url.insert(CORS.to_owned(), Value::Null);
    }
}

/// The statements that a public URL needs in the function's policy; Lambda adds neither
/// (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
pub(super) fn statements(declared: &ResourceDecl) -> Vec<ImpliedResource> {
    if !declared.desired.get(URL).is_some_and(is_public) {
        return Vec::new();
    }
    let statement = |suffix: &str, action: &str, (condition, value): (&str, Value)| ImpliedResource {
        name: format!("{}-{suffix}", declared.name),
        kind: "permission".into(),
        aws_name: None,
        properties: Tree::from([
            ("function".to_owned(), Value::reference(&declared.name, "arn")),
            ("action".to_owned(), Value::String(action.to_owned())),
            ("principal".to_owned(), Value::String("*".to_owned())),
            (condition.to_owned(), value),
        ]),
        reference: None,
        path: Path::property(URL).key(AUTH_TYPE),
    };
    vec![
        statement("url", "lambda:InvokeFunctionUrl", ("function_url_auth_type", Value::String(PUBLIC.to_owned()))),
        statement("url-invoke", "lambda:InvokeFunction", ("invoked_via_function_url", Value::Bool(true))),
    ]
}

/// The current URL and its address; `None` if the function has none, or doesn't exist.
pub(super) async fn read(cx: &Context, id: &Id) -> Result<Option<(FunctionUrl, String)>, AwsError> {
    let request = cx.aws.lambda.get_function_url_config().function_name(&id.name);
    let answer = request.send().await.context("GetFunctionUrlConfig", &id.name);
    Ok(answer.if_exists()?.map(|answer| {
        let url = FunctionUrl {
            auth_type: answer.auth_type.as_str().to_owned(),
            cors: answer.cors.map(Cors::of).filter(|cors| *cors != Cors::default()),
            invoke_mode: answer.invoke_mode.map_or_else(|| BUFFERED.to_owned(), |mode| mode.as_str().to_owned()),
        };
        (url, answer.function_url)
    }))
}

/// Creates the URL; returns its address.
pub(super) async fn create(cx: &Context, id: &Id, url: &FunctionUrl) -> Result<String, AwsError> {
    let send = || async {
        let request = cx
            .aws
            .lambda
            .create_function_url_config()
            .function_name(&id.name)
            .auth_type(FunctionUrlAuthType::from(url.auth_type.as_str()))
            .set_cors(url.cors.as_ref().map(Cors::sent))
            .invoke_mode(InvokeMode::from(url.invoke_mode.as_str()));
        let answer = request.customize().config_override(once(cx)).send().await;
        answer.context("CreateFunctionUrlConfig", &id.name).map(|answer| answer.function_url)
    };
    let find = || async {
        let Some((now, address)) = read(cx, id).await? else { return Ok(None) };
        ensure_matches("CreateFunctionUrlConfig", id, &differing(&now, url, &[]))?;
        Ok(Some(address))
    };
    cx.create(BUSY, &id.name, send, find).await
}

/// Creates, changes or deletes the URL, with the output that follows.
pub(super) async fn update(
    cx: &Context,
    id: &Id,
    from_to: (Option<&FunctionUrl>, Option<&FunctionUrl>),
    outputs: &mut Outputs,
) -> Result<(), AwsError> {
    match from_to {
        (None, Some(want)) => drop(outputs.insert(URL.to_owned(), create(cx, id, want).await?)),
        (Some(_), None) => {
            delete(cx, id).await?;
            outputs.remove(URL);
        }
        (Some(have), Some(want)) if have != want => change(cx, id, have, want).await?,
        _ => {}
    }
    Ok(())
}

/// Changes the URL, which keeps its address.
async fn change(cx: &Context, id: &Id, have: &FunctionUrl, want: &FunctionUrl) -> Result<(), AwsError> {
    let change = Delta { from: have, to: want };
    let send = || async {
        let request = cx
            .aws
            .lambda
            .update_function_url_config()
            .function_name(&id.name)
            .set_auth_type(change.member(|it| FunctionUrlAuthType::from(it.auth_type.as_str())))
            // Without settings, it removes all.
            .set_cors(change.member(|it| it.cors.as_ref().map_or_else(|| SentCors::builder().build(), Cors::sent)))
            .set_invoke_mode(change.member(|it| InvokeMode::from(it.invoke_mode.as_str())));
        request.send().await.context("UpdateFunctionUrlConfig", &id.name).map(|_| ())
    };
    cx.send(BUSY, &id.name, send).await
}

async fn delete(cx: &Context, id: &Id) -> Result<(), AwsError> {
    let send = || async {
        let request = cx.aws.lambda.delete_function_url_config().function_name(&id.name);
        request.send().await.context("DeleteFunctionUrlConfig", &id.name).if_deleted()
    };
    cx.send(BUSY, &id.name, send).await
}

impl Cors {
    fn of(cors: SentCors) -> Cors {
        let set = |texts: Option<Vec<String>>| texts.unwrap_or_default().into_iter().collect();
        Cors {
            allow_credentials: cors.allow_credentials.unwrap_or_default(),
            allow_headers: set(cors.allow_headers),
            allow_methods: set(cors.allow_methods),
            allow_origins: set(cors.allow_origins),
            expose_headers: set(cors.expose_headers),
            max_age: cors.max_age.unwrap_or_default(),
        }
    }

    /// All settings, because they replace the current ones together.
    fn sent(&self) -> SentCors {
        let list = |texts: &BTreeSet<String>| Some(texts.iter().cloned().collect());
        SentCors::builder()
            .allow_credentials(self.allow_credentials)
            .set_allow_headers(list(&self.allow_headers))
            .set_allow_methods(list(&self.allow_methods))
            .set_allow_origins(list(&self.allow_origins))
            .set_expose_headers(list(&self.expose_headers))
            .max_age(self.max_age)
            .build()
    }
}
