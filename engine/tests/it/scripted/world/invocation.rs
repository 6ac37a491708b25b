//! How a function is invoked: the settings that have calls of their own.

use serde_json::{Value as Json, json};

use super::lambda::{function_arn, invalid, known, within};
use super::{Reply, World, last};

impl World {
    fn async_config(&mut self, name: &str) -> Result<&mut Option<Json>, Reply> {
        let missing = Reply::lambda(404, "ResourceNotFoundException", "The function doesn't exist.");
        Ok(&mut self.functions.get_mut(&last(name)).ok_or(missing)?.async_config)
    }

    pub(super) fn get_async_config(&mut self, name: &str) -> Result<Reply, Reply> {
        let config = self.async_config(name)?.clone().ok_or_else(|| no_async_config(name))?;
        Ok(Reply::ok(&config))
    }

    /// Lambda resets what the request omits, and shows only what was set.
    pub(super) fn put_async_config(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        known(body, &["MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"])?;
        within(&body["MaximumRetryAttempts"], 0..=2)?;
        within(&body["MaximumEventAgeInSeconds"], 60..=21_600)?;
        if body.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(invalid("You must specify at least one of error handling or destination setting."));
        }
        let mut config = json!({
            "FunctionArn": format!("{}:$LATEST", function_arn(name)),
            "LastModified": 1_700_000_000.0,
            "DestinationConfig": { "OnSuccess": {}, "OnFailure": {} },
        });
        for field in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
            if !body[field].is_null() {
                config[field] = body[field].clone();
            }
        }
        self.async_config(name)?;
        for side in ["OnSuccess", "OnFailure"] {
            if let Some(arn) = body["DestinationConfig"][side]["Destination"].as_str() {
                self.check_destination(name, side, arn)?;
                config["DestinationConfig"][side]["Destination"] = json!(arn);
            }
        }
        self.quiet_function(name)?;
        *self.async_config(name)? = Some(config.clone());
        Ok(Reply::ok(&config))
    }

    /// Whether Lambda can send there with the function's role.
    fn check_destination(&self, name: &str, side: &str, arn: &str) -> Result<(), Reply> {
        let action = match arn.split(':').nth(2) {
            Some("sqs") if !arn.ends_with(".fifo") => ("sqs:SendMessage", "SendMessage on SQS"),
            Some("sns") if !arn.ends_with(".fifo") => ("sns:Publish", "Publish on SNS"),
            Some("events") => ("events:PutEvents", "PutEvents on EventBridge"),
            Some("s3") if side == "OnFailure" => ("s3:PutObject", "PutObject on S3"),
            Some("lambda") if arn == function_arn(name) => {
                return Err(invalid("You can't specify the function as a destination for itself."));
            }
            Some("lambda") if self.functions.contains_key(&last(arn)) => {
                ("lambda:InvokeFunction", "InvokeFunction on Lambda")
            }
            _ => return Err(invalid(&format!("The destination ARN {arn} is invalid."))),
        };
        let role = &self.functions[&last(name)].config["Role"];
        let role = self.roles.iter().find(|(name, it)| *role == it.arn(name)).map(|(_, role)| role);
        let (action, call) = action;
        if role.is_some_and(|role| !role.allows(action)) {
            return Err(invalid(&format!("The provided execution role does not have permissions to call {call}")));
        }
        Ok(())
    }

    pub(super) fn delete_async_config(&mut self, name: &str) -> Result<Reply, Reply> {
        let config = self.async_config(name)?;
        config.take().ok_or_else(|| no_async_config(name))?;
        Ok(Reply::empty())
    }
}

impl World {
    fn url(&mut self, name: &str) -> Result<&mut Option<Json>, Reply> {
        let missing = Reply::lambda(404, "ResourceNotFoundException", "Function does not exist");
        Ok(&mut self.functions.get_mut(&last(name)).ok_or(missing)?.url)
    }

    pub(super) fn get_url(&mut self, name: &str) -> Result<Reply, Reply> {
        Ok(Reply::ok(&self.url(name)?.clone().ok_or_else(no_url)?))
    }

    /// The answer has no invoke mode, unlike that of a read.
    pub(super) fn create_url(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        if self.url(name)?.is_some() {
            let text = format!(
                "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists \
                 for this Lambda function",
                function_arn(name)
            );
            return Err(Reply::lambda(409, "ResourceConflictException", &text));
        }
        if body["AuthType"].is_null() {
            return Err(invalid("Value null at 'authType' failed to satisfy constraint: Member must not be null"));
        }
        let id = self.id();
        let mut url = json!({
            "FunctionUrl": format!("https://{id:032}.lambda-url.eu-central-1.on.aws/"),
            "FunctionArn": function_arn(name),
            "AuthType": "AWS_IAM",
            "InvokeMode": "BUFFERED",
            "CreationTime": "2026-11-22T19:00:00.000Z",
            "LastModifiedTime": "2026-11-22T19:00:00.000Z",
        });
        configure_url(&mut url, body)?;
        self.quiet_function(name)?;
        *self.url(name)? = Some(url.clone());
        url.as_object_mut().unwrap().remove("InvokeMode");
        Ok(Reply::json(201, &url))
    }

    pub(super) fn update_url(&mut self, name: &str, body: &Json) -> Result<Reply, Reply> {
        self.quiet_function(name)?;
        let url = self.url(name)?.as_mut().ok_or_else(no_url)?;
        configure_url(url, body)?;
        let mut url = url.clone();
        url.as_object_mut().unwrap().remove("InvokeMode");
        Ok(Reply::ok(&url))
    }

    pub(super) fn delete_url(&mut self, name: &str) -> Result<Reply, Reply> {
        self.url(name)?.take().ok_or_else(no_url)?;
        Ok(Reply::empty())
    }
}

/// Applies a request to a URL; omitted fields keep their values.
fn configure_url(url: &mut Json, body: &Json) -> Result<(), Reply> {
    known(body, &["AuthType", "InvokeMode", "Cors"])?;
    for (field, words) in [("AuthType", ["AWS_IAM", "NONE"]), ("InvokeMode", ["BUFFERED", "RESPONSE_STREAM"])] {
        if body[field].is_null() {
            continue;
        }
        if !words.iter().any(|word| body[field] == *word) {
            return Err(invalid(&format!("Member must satisfy enum value set: {words:?}")));
        }
        url[field] = body[field].clone();
    }
    if body["Cors"].is_object() {
        let lists = ["AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders"];
        known(&body["Cors"], &[&lists[..], &["AllowCredentials", "MaxAge"]].concat())?;
        within(&body["Cors"]["MaxAge"], 0..=86_400)?;
        url.as_object_mut().unwrap().remove("Cors");
        if body["Cors"] != json!({}) {
            url["Cors"] = body["Cors"].clone();
        }
    }
    Ok(())
}

fn no_url() -> Reply {
    Reply::lambda(404, "ResourceNotFoundException", "The resource you requested does not exist.")
}

fn no_async_config(name: &str) -> Reply {
    let text = format!("The function {name} doesn't have an EventInvokeConfig");
    Reply::lambda(404, "ResourceNotFoundException", &text)
}
