//! Code that `code:` refers to instead of naming local files: an archive in S3, or a container
//! image.
//!
//! **Invariant:** engine never reads the archive or the image; Lambda does, with the caller's
//! permissions. Lambda doesn't show which object it copied its code from
//! (docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html), so a tag records it,
//! together with the hash of the code, which shows whether the tag still holds.

use std::sync::LazyLock;

use aws_sdk_lambda::types::{FunctionCode, FunctionConfiguration, ImageConfig};
use aws_smithy_types::Blob;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::schema::{Effect, Problem, Property, Shape, Text, property};
use crate::value::{Path, Tree, Value};

/// The tag that records the object that a function's code comes from.
pub(super) const TAG: &str = "engine:code";
/// The derived property with that object.
pub(super) const SOURCE: &str = "code_source";
/// The derived property with the image.
pub(super) const IMAGE: &str = "image";
/// Maximum length of a tag's value
/// (docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html), and of a hash
/// in base64 with the space after it.
const TAG_VALUE: usize = 256;
const HASH: usize = 45;

/// An archive in S3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3Object {
    bucket: String,
    key: String,
    version: Option<String>,
}

/// A container image, and what it replaces of the image's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ContainerImage {
    /// Its URI.
    pub(super) uri: String,
    pub(super) command: Vec<String>,
    pub(super) entry_point: Vec<String>,
    pub(super) working_directory: Option<String>,
}

/// What `code:` refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CodeReference {
    Object(S3Object),
    Image(ContainerImage),
}

/// docs.aws.amazon.com/lambda/latest/api/API_FunctionCode.html, S3Bucket
static BUCKET: LazyLock<Text> = LazyLock::new(|| {
    Text::new(3..=63, "the name of a bucket: letters, digits, `.`, `-` and `_`", |text| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) && !text.ends_with('.')
    })
});
/// docs.aws.amazon.com/lambda/latest/dg/images-create.html: only repositories in ECR. An ECR host
/// is `ACCOUNT.dkr.ecr.REGION.amazonaws.com` or `ACCOUNT.dkr-ecr.REGION.on.aws`
/// (docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html).
static URI: LazyLock<Text> = LazyLock::new(|| {
    let expected =
        "the URI of an image in ECR, like `123456789012.dkr.ecr.eu-central-1.amazonaws.com/app@sha256:…` or `…/app:1`";
    Text::new(1..=2048, expected, |text| repository(text).is_some() && !text.contains(char::is_whitespace))
});

/// The account, region and name of the repository of an image.
pub(super) fn repository(uri: &str) -> Option<(&str, &str, &str)> {
    let (host, path) = uri.split_once('/')?;
    let (account, rest) = host.split_once('.')?;
    let rest = rest.strip_prefix("dkr.ecr.").or_else(|| rest.strip_prefix("dkr-ecr."))?;
    let (region, _) = rest.split_once('.')?;
    let name = path.split('@').next()?.split(':').next()?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !region.is_empty() && !name.is_empty()).then_some((account, region, name))
}

/// docs.aws.amazon.com/lambda/latest/api/API_FunctionCode.html
pub(super) fn s3() -> Property {
    let members = vec![
        property("bucket", Shape::Text(BUCKET.clone()), "a bucket in the function's region").required(),
        property("key", Shape::Text(Text { min: 1, ..Text::any(1024) }), "the object's key").required(),
        property(
            "version",
            Shape::Text(Text { min: 1, ..Text::any(1024) }),
            "the object's version; without it, the newest one when the key changes",
        ),
    ];
    let doc = "a `.zip` or `.jar` in S3, which Lambda copies; a change of bucket, key or version deploys it";
    property("s3", Shape::Record(members), doc).no_references()
}

/// docs.aws.amazon.com/lambda/latest/api/API_ImageConfig.html
pub(super) fn image() -> Property {
    property(IMAGE, Shape::TextOrRecord(URI.clone(), members()), "the URI of a container image in ECR, or a mapping")
        .no_references()
}

fn members() -> Vec<Property> {
    let words = || Shape::List { item: Box::new(Shape::Text(Text::any(1500))), max: 1500 };
    vec![
        property("uri", Shape::Text(URI.clone()), "the URI of a container image in ECR").required(),
        property("command", words(), "arguments of the entry point; defaults to the image's"),
        property("entry_point", words(), "the program to start; defaults to the image's"),
        property("working_directory", Shape::Text(Text::any(1000)), "defaults to the image's"),
    ]
}

/// The object that the code comes from. Without one in the spec, it isn't compared.
pub(super) fn source() -> Property {
    property(SOURCE, Shape::Text(Text::any(TAG_VALUE)), "the object in S3 that the code comes from")
        .derived_from("code")
        .equivalent(|_, want| *want == Value::Null)
}

/// The image that a function runs. A function's package type can't be changed
/// (docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html, PackageType).
pub(super) fn derived_image() -> Property {
    property(IMAGE, Shape::Record(members()), "the container image that it runs instead of a package")
        .derived_from("code")
        .member("ImageConfig")
        .on_change(Effect::Replace)
        .decided_by(|_, live, desired| {
            let has = |tree: &Tree| tree.get(IMAGE).is_some_and(|image| *image != Value::Null);
            if has(live) == has(desired) { Effect::InPlace } else { Effect::Replace }
        })
}

impl CodeReference {
    /// What a value of `code` refers to; `None` for local files.
    pub(super) fn of(code: &Json) -> Option<CodeReference> {
        if let Some(object) = code.get("s3").filter(|it| !it.is_null()) {
            return serde_json::from_value(object.clone()).ok().map(CodeReference::Object);
        }
        match code.get(IMAGE)? {
            Json::String(uri) => {
                Some(CodeReference::Image(ContainerImage { uri: uri.clone(), ..ContainerImage::default() }))
            }
            Json::Null => None,
            image => {
                let text = |name: &str| image.get(name).and_then(Json::as_str).map(str::to_owned);
                let words = |name: &str| {
                    let words = image.get(name).and_then(Json::as_array).into_iter().flatten();
                    words.filter_map(Json::as_str).map(str::to_owned).collect()
                };
                Some(CodeReference::Image(ContainerImage {
                    uri: text("uri")?,
                    command: words("command"),
                    entry_point: words("entry_point"),
                    working_directory: text("working_directory").filter(|it| !it.is_empty()),
                }))
            }
        }
    }

    /// The values of the derived properties.
    pub(super) fn derived(&self) -> Tree {
        let (source, image) = match self {
            CodeReference::Object(object) => (Value::String(object.recorded()), Value::Null),
            CodeReference::Image(image) => (Value::Null, serde_json::to_value(image).map_or(Value::Null, Value::from)),
        };
        Tree::from([
            (SOURCE.to_owned(), source),
            (IMAGE.to_owned(), image),
            ("code_sha256".to_owned(), Value::Null),
            ("code_size".to_owned(), Value::Null),
        ])
    }
}

impl S3Object {
    /// Its ARN and version, if it has one.
    pub(super) fn arn(&self, partition: &str) -> (String, Option<&str>) {
        (format!("arn:{partition}:s3:::{}/{}", self.bucket, self.key), self.version.as_deref())
    }

    /// As text for plans and the tag: as it is if a tag can contain it
    /// (docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html), else its hash.
    fn recorded(&self) -> String {
        let version = self.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
        let text = format!("s3://{}/{}{version}", self.bucket, self.key);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/=+-@".contains(&byte));
        // A key can contain `@`, too.
        if is_plain && !self.key.contains('@') && text.len() <= TAG_VALUE - HASH {
            return text;
        }
        let parts = [&self.bucket, &self.key, self.version.as_deref().unwrap_or_default()];
        let hash = Sha256::digest(parts.join("\0"));
        format!("s3://{}/...@{}", self.bucket, base64::engine::general_purpose::STANDARD.encode(hash))
    }
}

/// `code.image` for the derived property of an existing function.
pub(super) fn written_image(image: &Tree) -> Value {
    let is_set = |value: &Value| !matches!(value, Value::Null) && *value != Value::List(Vec::new());
    let set: Tree = image.iter().filter(|(_, value)| is_set(value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    match (set.len(), set.get("uri")) {
        (1, Some(uri)) => uri.clone(),
        _ => Value::Map(set),
    }
}

/// `code.s3` for an object in its recorded form; `None` if that is only its hash.
pub(super) fn written_object(recorded: &str) -> Option<Value> {
    let (bucket, rest) = recorded.strip_prefix("s3://")?.split_once('/')?;
    let (key, version) = rest.split_once('@').map_or((rest, None), |(key, version)| (key, Some(version)));
    let members = [("bucket", Some(bucket)), ("key", Some(key)), ("version", version)];
    let set = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?.to_owned()))));
    (key != "...").then(|| Value::Map(set.collect()))
}

/// The value of the tag for code with this hash from this object.
pub(super) fn record(code_sha256: &str, source: &str) -> String {
    format!("{code_sha256} {source}")
}

/// The object in the tag, if it is about the code with this hash.
pub(super) fn recorded(tag: Option<&str>, code_sha256: Option<&str>) -> Option<String> {
    let (hash, source) = tag?.split_once(' ')?;
    (Some(hash) == code_sha256).then(|| source.to_owned())
}

/// The image in a response.
pub(super) fn of(config: &FunctionConfiguration, uri: String) -> ContainerImage {
    let own = config.image_config_response().and_then(|response| response.image_config());
    ContainerImage {
        uri,
        command: own.map(|it| it.command().to_vec()).unwrap_or_default(),
        entry_point: own.map(|it| it.entry_point().to_vec()).unwrap_or_default(),
        working_directory: own.and_then(|it| it.working_directory()).filter(|it| !it.is_empty()).map(str::to_owned),
    }
}

/// Lambda replaces the settings as a whole, and empty ones restore the image's
/// (docs.aws.amazon.com/lambda/latest/api/API_ImageConfig.html).
pub(super) fn image_config(image: Option<&ContainerImage>) -> ImageConfig {
    let image = image.cloned().unwrap_or_default();
    let words = |words: Vec<String>| (!words.is_empty()).then_some(words);
    ImageConfig::builder()
        .set_command(words(image.command))
        .set_entry_point(words(image.entry_point))
        .set_working_directory(image.working_directory)
        .build()
}

/// The code of a new function.
pub(super) fn request(code: &Json, zip: &[u8]) -> FunctionCode {
    let request = FunctionCode::builder();
    match CodeReference::of(code) {
        Some(CodeReference::Object(object)) => {
            request.s3_bucket(object.bucket).s3_key(object.key).set_s3_object_version(object.version).build()
        }
        Some(CodeReference::Image(image)) => request.image_uri(image.uri).build(),
        None => request.zip_file(Blob::new(zip)).build(),
    }
}

/// The rules of functions whose code is elsewhere.
pub(super) fn problems(desired: &Tree) -> Vec<Problem> {
    let code = desired.get("code").map(Json::from).unwrap_or_default();
    let reference = CodeReference::of(&code);
    let is_set = |name: &&str| match desired.get(*name) {
        None | Some(Value::Null) => false,
        Some(Value::List(items)) => !items.is_empty(),
        Some(_) => true,
    };
    // A missing key had an invalid value, which is already reported.
    let is_known = match desired.get("code") {
        Some(Value::Map(code)) => ["s3", IMAGE].iter().all(|form| code.contains_key(*form)),
        code => code.is_some(),
    };
    let mut problems = Vec::new();
    match &reference {
        Some(CodeReference::Image(_)) => {
            let others = ["runtime", "handler", "layers"].into_iter().filter(is_set);
            problems.extend(others.map(|name| {
                let hint = format!("remove `{name}`; `code.image.command` overrides what the image starts");
                let problem = format!("`{name}` doesn't apply to a container image");
                Problem::error(Path::property(name), problem, hint).inapplicable()
            }));
        }
        Some(CodeReference::Object(_)) | None => {}
    }
    let is_signed = is_set(&SIGNING);
    if is_signed && is_known && !matches!(reference, Some(CodeReference::Object(_))) {
        let problem = format!("`{SIGNING}` needs code in S3, which AWS Signer signed");
        let hint = "set `code: { s3: { bucket: …, key: … } }` to the signed archive";
        let why = "Lambda rejects packages without a signature, and engine signs none";
        problems
            .push(Problem::error(Path::property(SIGNING), problem, hint).why(why).inapplicable_with(SIGNING, "code"));
    }
    problems
}

/// The property with the code signing configuration.
pub(super) const SIGNING: &str = "code_signing_config_arn";
