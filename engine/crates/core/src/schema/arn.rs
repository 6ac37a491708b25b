//! The form of a resource type's ARNs as data: it turns a name into an ARN, and an ARN into a name.
//!
//! **Invariant:** it parses no region, account or partition, so it accepts the ARNs of all of them.

use std::borrow::Cow;

use super::{AwsEnv, Str};

/// The form of the ARNs of one resource type
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArnForm {
    /// The service.
    pub service: Str,
    /// Whether they contain a region.
    pub has_region: bool,
    /// Whether they contain an account.
    pub has_account: bool,
    /// The last field, with `{name}` at its end: `table/{name}`. `{path}` before it matches any
    /// number of folders.
    pub resource: Str,
}

const NAME: &str = "{name}";
const PATH: &str = "{path}";

impl ArnForm {
    /// ARNs with a region and an account.
    pub const fn regional(service: &'static str, resource: &'static str) -> ArnForm {
        let (service, resource) = (Cow::Borrowed(service), Cow::Borrowed(resource));
        ArnForm { service, has_region: true, has_account: true, resource }
    }

    /// ARNs with an account and without a region.
    pub const fn global(service: &'static str, resource: &'static str) -> ArnForm {
        let (service, resource) = (Cow::Borrowed(service), Cow::Borrowed(resource));
        ArnForm { service, has_region: false, has_account: true, resource }
    }

    /// The ARN of the resource with this name, without a path.
    pub fn of(&self, env: &AwsEnv, name: &str) -> String {
        let region = if self.has_region { env.region.as_str() } else { "" };
        let account = if self.has_account { env.account.as_str() } else { "" };
        let resource = self.resource.replace(PATH, "").replace(NAME, name);
        format!("arn:{}:{}:{region}:{account}:{resource}", env.partition, self.service)
    }

    /// The name in an ARN of this form, also of what belongs to the resource: `todos` in
    /// `…:table/todos/stream/2026`. `None` for other ARNs.
    pub fn name<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let mut fields = arn.splitn(6, ':');
        let (scheme, service, resource) = (fields.next()?, fields.nth(1)?, fields.nth(2)?);
        let rest = resource.strip_prefix(self.prefix()).filter(|_| scheme == "arn" && service == self.service)?;
        match self.resource.contains(PATH) {
            true => rest.rsplit('/').next(),
            false => rest.split(|c| self.prefix().ends_with(c)).next(),
        }
    }

    /// What precedes path and name in the last field.
    pub fn prefix(&self) -> &str {
        self.resource.split('{').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_made_and_read_by_the_same_form() {
        let env = AwsEnv::new("cn-north-1", "123456789012");
        let free = ArnForm { has_account: false, ..ArnForm::global("s3", "{name}") };
        for (form, arn) in [
            (ArnForm::regional("dynamodb", "table/{name}"), "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/todos"),
            (ArnForm::regional("logs", "log-group:{name}"), "arn:aws-cn:logs:cn-north-1:123456789012:log-group:todos"),
            (ArnForm::global("iam", "role/{path}{name}"), "arn:aws-cn:iam::123456789012:role/todos"),
            (free, "arn:aws-cn:s3:::todos"),
        ] {
            assert_eq!((form.of(&env, "todos").as_str(), form.name(arn)), (arn, Some("todos")));
        }
    }

    #[test]
    fn a_name_ends_where_the_form_says() {
        let (table, group) =
            (ArnForm::regional("dynamodb", "table/{name}"), ArnForm::regional("logs", "log-group:{name}"));
        let role = ArnForm::global("iam", "role/{path}{name}");
        assert_eq!(table.name("arn:aws:dynamodb:eu-west-1:1:table/todos/stream/2026"), Some("todos"));
        assert_eq!(group.name("arn:aws:logs:eu-west-1:1:log-group:/aws/lambda/x:*"), Some("/aws/lambda/x"));
        assert_eq!(role.name("arn:aws:iam::1:role/teams/owls/runner"), Some("runner"));
        for other in ["arn:aws:dynamodb:eu-west-1:1:role/runner", "arn:aws:iam::1:user/runner", "role/runner", ""] {
            assert_eq!(role.name(other), None, "{other}");
        }
    }
}
