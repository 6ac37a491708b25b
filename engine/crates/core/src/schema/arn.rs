//! The form of a resource type's ARNs as data: it turns a name into an ARN, and an ARN into a name.
//!
//! **Invariant:** it parses no region, account or partition, so it accepts the ARNs of all of them.

use std::borrow::Cow;

use super::{AwsEnv, Str, is_of_team};

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
    /// Whether a name can begin with folders (`/aws/lambda/todos`). Its last part then starts with
    /// the team.
    pub has_folders: bool,
    /// Whether every name must start with the team, so that `owns:` can't list one.
    pub requires_prefix: bool,
}

const NAME: &str = "{name}";
const PATH: &str = "{path}";

impl ArnForm {
    /// ARNs with a region and an account.
    pub const fn regional(service: &'static str, resource: &'static str) -> ArnForm {
        let (service, resource) = (Cow::Borrowed(service), Cow::Borrowed(resource));
        ArnForm { service, has_region: true, has_account: true, resource, has_folders: false, requires_prefix: false }
    }

    /// The same with names that can begin with folders.
    pub const fn regional_with_folders(service: &'static str, resource: &'static str) -> ArnForm {
        let (service, resource) = (Cow::Borrowed(service), Cow::Borrowed(resource));
        ArnForm { service, has_region: true, has_account: true, resource, has_folders: true, requires_prefix: false }
    }

    /// ARNs with an account and without a region, of names that must start with the team: all
    /// regions share them.
    pub const fn global(service: &'static str, resource: &'static str) -> ArnForm {
        let (service, resource) = (Cow::Borrowed(service), Cow::Borrowed(resource));
        ArnForm { service, has_region: false, has_account: true, resource, has_folders: false, requires_prefix: true }
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

    /// Whether a name is the team's ([`is_of_team`]): if it has folders, its last part decides.
    pub fn is_of_team(&self, name: &str, team: &str) -> bool {
        is_of_team(self.split_folders(name).1, team)
    }

    /// The folders of a name, with the slash at their end, and the rest.
    pub fn split_folders<'n>(&self, name: &'n str) -> (&'n str, &'n str) {
        let start = name.rfind('/').filter(|_| self.has_folders).map_or(0, |at| at + 1);
        name.split_at(start)
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
    fn an_arn_is_built_and_parsed_by_the_same_form() {
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
    fn only_a_name_that_can_have_folders_is_the_teams_by_its_last_part() {
        let group = ArnForm::regional_with_folders("logs", "log-group:{name}");
        let names = [
            ("owls-todos", true, true),
            ("/aws/lambda/owls-todos", true, false),
            ("red/owls.todos", true, false),
            ("/owls-a/red-todos", false, false),
            ("owls-a/red-todos", false, true),
            ("/aws/lambda/owls-todos/", false, false),
            ("/aws/lambda/owls", false, false),
            ("/aws/lambda/Owls-todos", false, false),
            ("/", false, false),
        ];
        for (name, with_folders, without) in names {
            assert_eq!(group.is_of_team(name, "owls"), with_folders, "{name}");
            assert_eq!(ArnForm::regional("x", "{name}").is_of_team(name, "owls"), without, "{name}");
        }
    }

    #[test]
    fn the_form_determines_where_a_name_ends() {
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
