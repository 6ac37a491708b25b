//! The code of functions in the account: packages, archives in S3, images and code signing.

use std::io::Write as _;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::lambda::{function_arn, invalid, known};
use super::{Reply, World, last};

/// Deploys the code in a request: the architecture is part of it. Every object in S3 and every image
/// exists whose name doesn't end with `missing`.
pub(super) fn deploy(config: &mut Json, code: &Json, architectures: &Json) -> Result<(), Reply> {
    let is_image = config["PackageType"] == "Image";
    let text = |field: &str| code[field].as_str();
    if let Some(uri) = text("ImageUri") {
        if !is_image {
            return Err(invalid("Please don't provide ImageUri when updating a function with packageType Zip."));
        }
        if uri.ends_with("missing") {
            let text = format!("Source image {uri} does not exist. Provide a valid source image.");
            return Err(invalid(&text));
        }
        config["ImageUri"] = json!(uri);
        config["CodeSize"] = json!(0);
        config["CodeSha256"] = json!(hex(uri.as_bytes()));
    } else if config["PackageType"] != "Zip" {
        return Err(invalid("Please provide ImageUri when updating a function with packageType Image."));
    } else if let (Some(bucket), Some(key)) = (text("S3Bucket"), text("S3Key")) {
        if key.ends_with("missing") {
            return Err(invalid(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does \
                 not exist.",
            ));
        }
        let version = text("S3ObjectVersion").unwrap_or_default();
        packed(config, &object(bucket, key, version));
        // Tests recognize an object by its size: the length of its name.
        config["CodeSize"] = json!(format!("{bucket}/{key}/{version}").len());
    } else {
        let Some(zip) = text("ZipFile") else { return Err(invalid("Please provide a source for function code.")) };
        packed(config, &base64::engine::general_purpose::STANDARD.decode(zip).unwrap());
    }
    if let Some(one) = architectures.as_array() {
        if *one != [json!("x86_64")] && *one != [json!("arm64")] {
            return Err(invalid("Member must satisfy enum value set: [x86_64, arm64]"));
        }
        config["Architectures"] = json!(one);
    }
    Ok(())
}

/// An archive in S3.
fn object(bucket: &str, key: &str, version: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    zip.start_file("index.js", options).unwrap();
    let code = format!("// {bucket}/{key}/{version}\nexports.handler = async () => 1;\n");
    zip.write_all(code.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn packed(config: &mut Json, zip: &[u8]) {
    config["CodeSize"] = json!(zip.len());
    config["CodeSha256"] = json!(hash(zip));
}

fn hash(zip: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(zip))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replaces the settings of an image as a whole; empty ones are no longer shown.
pub(super) fn configure_image(config: &mut Json, image: &Json) -> Result<(), Reply> {
    if !image.is_object() {
        return Ok(());
    }
    if config["PackageType"] != "Image" {
        return Err(invalid("ImageConfig is not supported for functions with packageType Zip."));
    }
    known(image, &["EntryPoint", "Command", "WorkingDirectory"])?;
    config.as_object_mut().unwrap().remove("ImageConfigResponse");
    if image.as_object().is_some_and(|it| !it.is_empty()) {
        config["ImageConfigResponse"] = json!({ "ImageConfig": image });
    }
    Ok(())
}

impl World {
    /// Keeps a deployed package, so that it can be downloaded.
    pub(super) fn keep_archive(&mut self, code: &Json) {
        let text = |field: &str| code[field].as_str();
        let zip = match (text("ZipFile"), text("S3Bucket"), text("S3Key")) {
            (Some(zip), ..) => base64::engine::general_purpose::STANDARD.decode(zip).unwrap(),
            (_, Some(bucket), Some(key)) => object(bucket, key, text("S3ObjectVersion").unwrap_or_default()),
            _ => return,
        };
        self.archives.insert(hash(&zip), zip.into());
    }

    /// The package that a function runs.
    pub(in crate::scripted) fn archive(&self, function: &str) -> Option<Bytes> {
        self.archives.get(self.functions.get(function)?.config["CodeSha256"].as_str()?).cloned()
    }

    fn signing(&mut self, name: &str) -> Result<&mut Option<String>, Reply> {
        let missing = format!("Function not found: {}", function_arn(name));
        let missing = Reply::lambda(404, "ResourceNotFoundException", &missing);
        Ok(&mut self.functions.get_mut(&last(name)).ok_or(missing)?.signing)
    }

    pub(super) fn get_signing(&mut self, name: &str) -> Result<Reply, Reply> {
        let arn = self.signing(name)?.clone().unwrap_or_default();
        Ok(Reply::json(200, &json!({ "FunctionName": name, "CodeSigningConfigArn": arn })))
    }

    pub(super) fn put_signing(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        let arn = body["CodeSigningConfigArn"].as_str().ok_or_else(|| invalid("CodeSigningConfigArn is required"))?;
        if arn.ends_with("missing") {
            let text = format!("CodeSigningConfig cannot be found: {arn}");
            return Err(Reply::lambda(404, "CodeSigningConfigNotFoundException", &text));
        }
        *self.signing(name)? = Some(arn.to_owned());
        Ok(Reply::json(200, &json!({ "FunctionName": name, "CodeSigningConfigArn": arn })))
    }

    pub(super) fn delete_signing(&mut self, name: &str) -> Result<Reply, Reply> {
        *self.signing(name)? = None;
        Ok(Reply::empty())
    }
}
