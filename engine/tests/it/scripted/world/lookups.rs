//! What lookups read: parameters, secrets, and CloudFormation's exports and outputs.

use serde_json::{Value as Json, json};

use super::{Call, Reply, World};

/// The operation of a JSON request and its subject.
pub(super) fn operation(target: &str, body: &Json) -> Option<(&'static str, String)> {
    match target {
        "AmazonSSM.GetParameters" => {
            let names = body["Names"].as_array().into_iter().flatten().filter_map(Json::as_str);
            Some(("GetParameters", names.collect::<Vec<_>>().join(", ")))
        }
        "secretsmanager.GetSecretValue" => {
            Some(("GetSecretValue", body["SecretId"].as_str().unwrap_or_default().to_owned()))
        }
        _ => None,
    }
}

impl World {
    /// The response to a read of a lookup; `None` for other calls.
    pub(super) fn looked_up(&self, call: &Call) -> Option<Reply> {
        Some(match call.operation {
            "GetParameters" => self.get_parameters(call),
            "GetSecretValue" => self.get_secret(&call.about),
            "ListExports" => self.list_exports(call),
            "DescribeStacks" => self.describe_stack(&call.about),
            _ => return None,
        })
    }

    fn get_parameters(&self, call: &Call) -> Reply {
        let names: Vec<&str> = call.body["Names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        assert!((1..=10).contains(&names.len()), "AWS allows ten names: {names:?}");
        assert_eq!(call.body["WithDecryption"], true, "else a SecureString is its ciphertext");
        let (found, missing): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| self.parameters.contains_key(*name));
        let found = found.into_iter().map(|name| {
            let (kind, value, version) = &self.parameters[name];
            let (bare, label) = name.split_once(':').map_or((name, None), |(bare, label)| (bare, Some(label)));
            json!({
                "Name": bare, "Selector": label.map(|label| format!(":{label}")).unwrap_or_default(), "Type": kind, "Value": value, "Version": version, "DataType": "text",
                "ARN": format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{}", bare.trim_start_matches('/')),
            })
        });
        Reply::ok(&json!({ "Parameters": found.collect::<Vec<_>>(), "InvalidParameters": missing }))
    }

    fn get_secret(&self, name: &str) -> Reply {
        let missing = |what: &str| {
            Reply::logs("ResourceNotFoundException", &format!("Secrets Manager can't find the specified secret{what}."))
        };
        match self.secrets.get(name) {
            None => missing(""),
            Some(None) => missing(" value for staging label: AWSCURRENT"),
            Some(Some(value)) => Reply::ok(&json!({
                "ARN": format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-AbCdEf"),
                "Name": name, "SecretString": value, "VersionId": "1", "VersionStages": ["AWSCURRENT"],
            })),
        }
    }

    /// One export in each page.
    fn list_exports(&self, call: &Call) -> Reply {
        let at: usize = call.query.get("NextToken").map_or(0, |token| token.parse().unwrap());
        let export = self.exports.iter().nth(at).map_or_else(String::new, |(name, value)| {
            format!("<member><ExportingStackId>s</ExportingStackId><Name>{name}</Name><Value>{value}</Value></member>")
        });
        let next =
            if at + 1 < self.exports.len() { format!("<NextToken>{}</NextToken>", at + 1) } else { String::new() };
        Reply::xml(
            200,
            format!(
                "<ListExportsResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><ListExportsResult>\
                 <Exports>{export}</Exports>{next}</ListExportsResult></ListExportsResponse>"
            ),
        )
    }

    fn describe_stack(&self, name: &str) -> Reply {
        let Some((status, outputs)) = self.stacks.get(name) else {
            return Reply::query(400, "ValidationError", &format!("Stack with id {name} does not exist"));
        };
        let outputs = outputs.iter().map(|(key, value)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        });
        Reply::xml(
            200,
            format!(
                "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
                 <DescribeStacksResult><Stacks><member><StackName>{name}</StackName><StackStatus>{status}</StackStatus>\
                 <Outputs>{}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>",
                outputs.collect::<String>()
            ),
        )
    }
}
