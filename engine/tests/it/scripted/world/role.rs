//! The IAM roles of the scripted account. Documents are percent-encoded, names are unique ignoring
//! case, and a role that engine created is at first neither found by reads nor accepted by Lambda.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::{ACCOUNT, Call, READS, Reply, Tags, World, iam};

/// How often Lambda refuses a new role, or one with a new trust policy.
const REFUSALS: u32 = 2;
/// How often IAM refuses a delete because detached policies still count.
const LINGERING: u32 = 1;
/// docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const MANAGED_POLICIES: usize = 10;
const INLINE_CHARACTERS: usize = 10_240;
const TRUST_CHARACTERS: usize = 2048;

#[derive(Debug, Clone, Default)]
pub(crate) struct Role {
    pub(in crate::scripted) path: String,
    pub(in crate::scripted) description: String,
    /// `None`: the default.
    pub(in crate::scripted) max_session_duration: Option<u32>,
    /// The text of the trust policy; `None`: the account's `trust`.
    pub(in crate::scripted) trust: Option<String>,
    pub(in crate::scripted) tags: Tags,
    /// The texts of the inline policies.
    pub(in crate::scripted) inline: BTreeMap<String, String>,
    pub(in crate::scripted) attached: BTreeSet<String>,
    pub(in crate::scripted) boundary: Option<String>,
    pub(in crate::scripted) profiles: Vec<String>,
    /// The region in which it was last used.
    pub(in crate::scripted) used_in: Option<&'static str>,
    pub(in crate::scripted) id: String,
    /// Whether its own policies can be read, instead of the account's `policies`.
    pub(in crate::scripted) has_own_policies: bool,
    /// When it was created; `None`: the account's `roles_created`.
    created: Option<String>,
    /// How many reads don't find the new role, and then show its ID instead of its ARN.
    hidden: u32,
    without_arn: u32,
    /// How often Lambda still refuses it.
    refusals: u32,
    /// How often a delete is still refused after the last policy was detached.
    lingering: u32,
}

/// The model's name for an operation on roles.
pub(super) fn operation(action: &str) -> &'static str {
    const ALL: [&str; 16] = [
        "AttachRolePolicy",
        "CreateRole",
        "DeleteRole",
        "DeleteRolePermissionsBoundary",
        "DeleteRolePolicy",
        "DescribeNetworkInterfaces",
        "DetachRolePolicy",
        "GetRole",
        "ListInstanceProfilesForRole",
        "ListRoles",
        "PutRolePermissionsBoundary",
        "PutRolePolicy",
        "TagRole",
        "UntagRole",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
    ];
    ALL.into_iter().find(|it| *it == action).unwrap_or("?")
}

/// A form as JSON, without what names operation and role. Lists are one member.
pub(super) fn body(form: &BTreeMap<String, String>) -> Json {
    let own = form.iter().filter(|(name, _)| !["Action", "Version", "RoleName"].contains(&name.as_str()));
    own.map(|(name, value)| (name.split('.').next().unwrap().to_owned(), json!(value))).collect()
}

fn missing(name: &str) -> Reply {
    Reply::query(404, "NoSuchEntity", &format!("The role with name {name} cannot be found."))
}

/// docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html
fn in_use(what: &str) -> Reply {
    Reply::query(409, "DeleteConflict", &format!("Cannot delete entity, must {what} first."))
}

fn malformed(why: &str) -> Reply {
    Reply::query(400, "MalformedPolicyDocument", why)
}

fn exceeded(why: &str) -> Reply {
    Reply::query(409, "LimitExceeded", why)
}

fn done(operation: &str) -> Reply {
    Reply::xml(200, format!("<{operation}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"/>"))
}

fn encoded(document: &str) -> String {
    utf8_percent_encode(document, NON_ALPHANUMERIC).to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn characters(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Checks a document as IAM does
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
fn check_document(text: &str, is_trust: bool) -> Result<(), Reply> {
    // docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, AssumeRolePolicyDocument
    if text.chars().any(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FF}')) {
        return Err(Reply::query(400, "ValidationError", "The specified value for document is invalid."));
    }
    let document: Json = serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
    if document["Version"] != "2012-10-17" {
        return Err(malformed("Policy document must be version 2012-10-17 or greater."));
    }
    let statements = match &document["Statement"] {
        Json::Array(statements) => statements.clone(),
        statement => vec![statement.clone()],
    };
    if statements.is_empty() {
        return Err(malformed("Syntax errors in policy."));
    }
    let mut names = BTreeSet::new();
    for statement in &statements {
        let is_allowed = ["Sid", "Effect", "Action", "NotAction", "Condition"];
        let further: &[&str] = if is_trust { &["Principal"] } else { &["Resource", "NotResource"] };
        let is_known = |name: &String| is_allowed.contains(&name.as_str()) || further.contains(&name.as_str());
        if !statement.as_object().is_some_and(|it| it.keys().all(is_known)) {
            return Err(malformed("Syntax errors in policy."));
        }
        if !["Allow", "Deny"].iter().any(|effect| statement["Effect"] == *effect) {
            return Err(malformed("Syntax errors in policy."));
        }
        if let Some(sid) = statement["Sid"].as_str()
            && !(sid.chars().all(|c| c.is_ascii_alphanumeric()) && names.insert(sid))
        {
            return Err(malformed("Statement IDs (SID) must be alpha-numeric and unique."));
        }
        if statement["Action"].is_null() && statement["NotAction"].is_null() {
            return Err(malformed("Policy statement must contain actions."));
        }
        if is_trust && statement["Principal"].is_null() {
            return Err(malformed("Syntax errors in policy."));
        }
        if !is_trust && statement["Resource"].is_null() && statement["NotResource"].is_null() {
            return Err(malformed("Policy statement must contain resources."));
        }
        for resource in texts(&statement["Resource"]) {
            if resource != "*" && resource.splitn(6, ':').count() < 6 {
                return Err(malformed(&format!("Resource {resource} must be in ARN format or \"*\".")));
            }
        }
        for action in texts(&statement["Action"]) {
            if action != "*" && !action.contains(':') {
                return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
            }
        }
    }
    Ok(())
}

fn texts(value: &Json) -> Vec<String> {
    match value {
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => items.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Principals as IAM keeps them: an account becomes its root ARN
/// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
fn normalized_principals(trust: &str) -> String {
    let mut document: Json = serde_json::from_str(trust).unwrap();
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit());
    let root = |value: &mut Json| {
        if let Some(account) = value.as_str().filter(|text| is_account(text)) {
            *value = json!(format!("arn:aws:iam::{account}:root"));
        }
    };
    let statements = match &mut document["Statement"] {
        Json::Array(statements) => statements.iter_mut().collect(),
        statement => vec![statement],
    };
    let mut is_changed = false;
    for names in statements.into_iter().filter_map(|it| it.pointer_mut("/Principal/AWS")) {
        let before = names.clone();
        match names.as_array_mut() {
            Some(names) => names.iter_mut().for_each(root),
            None => root(names),
        }
        is_changed |= *names != before;
    }
    if is_changed { document.to_string() } else { trust.to_owned() }
}

/// The values of a list in a form, in order.
fn listed(form: &BTreeMap<String, String>, list: &str, member: &str) -> Vec<String> {
    let numbered = (1..).map(|n| format!("{list}.member.{n}{member}"));
    numbered.map_while(|name| form.get(&name).cloned()).collect()
}

fn tags(form: &BTreeMap<String, String>) -> Result<Tags, Reply> {
    let (keys, values) = (listed(form, "Tags", ".Key"), listed(form, "Tags", ".Value"));
    let unique: BTreeSet<String> = keys.iter().map(|key| key.to_lowercase()).collect();
    if unique.len() != keys.len() {
        return Err(Reply::query(
            400,
            "InvalidInput",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    Ok(keys.into_iter().zip(values).collect())
}

impl Role {
    /// An old role with this path.
    pub(in crate::scripted) fn old(path: &str) -> Role {
        Role { path: path.to_owned(), id: "AROAEXAMPLE".to_owned(), ..Role::default() }
    }

    pub(super) fn arn(&self, name: &str) -> String {
        super::role_arn(&self.path, name)
    }

    pub(super) fn age(&mut self) {
        (self.hidden, self.without_arn, self.refusals, self.lingering) = (0, 0, 0, 0);
        self.created = None;
    }

    /// Whether its own policies allow an action, on anything; unknown policies do.
    pub(super) fn allows(&self, action: &str) -> bool {
        !self.has_own_policies
            || !self.attached.is_empty()
            || self.inline.values().any(|policy| policy.contains(action))
    }

    /// Counts a call in which Lambda would assume it.
    pub(super) fn is_assumable(&mut self) -> bool {
        let is_trusted = self.trust.as_ref().is_none_or(|trust| trust.contains("lambda.amazonaws.com"));
        let is_ready = self.refusals == 0 && is_trusted;
        self.refusals = self.refusals.saturating_sub(1);
        is_ready
    }

    fn check_inline(&self, name: &str, policy: &str, document: &str) -> Result<(), Reply> {
        let others = self.inline.iter().filter(|(other, _)| *other != policy).map(|(_, text)| characters(text));
        if others.sum::<usize>() + characters(document) > INLINE_CHARACTERS {
            return Err(exceeded(&format!(
                "Maximum policy size of {INLINE_CHARACTERS} bytes exceeded for role {name}"
            )));
        }
        Ok(())
    }
}

impl World {
    /// An old role of this owner, whose policies the caller can read.
    pub(crate) fn add_role(&mut self, name: &str, tags: Tags) -> &mut Role {
        let role = Role { tags, has_own_policies: true, ..Role::old("/") };
        self.roles.insert(name.to_owned(), role);
        self.roles.get_mut(name).unwrap()
    }

    /// The name with which a role was created: names ignore case
    /// (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, RoleName).
    fn role_name(&self, name: &str) -> Option<String> {
        self.roles.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned()
    }

    fn role(&mut self, name: &str) -> Result<&mut Role, Reply> {
        let known = self.role_name(name).ok_or_else(|| missing(name))?;
        Ok(self.roles.get_mut(&known).unwrap())
    }

    /// Executes a call about roles; `None` for any other call.
    pub(super) fn role_call(&mut self, call: &Call) -> Option<Result<Reply, Reply>> {
        let name = call.about.as_str();
        let has_own = |world: &World| {
            let known = world.role_name(name);
            known.is_some_and(|known| world.roles[&known].has_own_policies)
        };
        match call.operation {
            "GetRolePolicy" | "ListAttachedRolePolicies" | "ListRolePolicies" if has_own(self) => {
                Some(self.own_policies(call))
            }
            known if operation(known) == known => Some(self.role_operation(call)),
            _ => None,
        }
    }

    /// The network interfaces whose requester fits the filter, each for as many reads as it stays.
    fn interfaces(&mut self, form: &BTreeMap<String, String>) -> Reply {
        assert_eq!(form["Filter.1.Name"], "requester-id");
        let requester = form["Filter.1.Value.1"].strip_suffix('*').unwrap().to_owned();
        let shown = self.interfaces.iter_mut().filter(|(it, stays)| it.starts_with(&requester) && *stays > 0);
        let items = shown.map(|(requester, stays)| {
            *stays -= 1;
            format!(
                "<item><networkInterfaceId>eni-1</networkInterfaceId><requesterId>{requester}</requesterId>\
                 <status>in-use</status></item>"
            )
        });
        let items: String = items.collect();
        Reply::xml(
            200,
            format!(
                "<DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
                 <requestId>r</requestId><networkInterfaceSet>{items}</networkInterfaceSet>\
                 </DescribeNetworkInterfacesResponse>"
            ),
        )
    }

    fn role_operation(&mut self, call: &Call) -> Result<Reply, Reply> {
        let Call { operation, about: name, query: form, .. } = call;
        let given = |field: &str| form.get(field).cloned().unwrap_or_default();
        match *operation {
            "CreateRole" => return self.create_role(name, form),
            "GetRole" => return self.get_role(name),
            "ListRoles" => return Ok(self.list_roles(form)),
            "DescribeNetworkInterfaces" => return Ok(self.interfaces(form)),
            "DeleteRole" => self.delete_role(name)?,
            "ListInstanceProfilesForRole" => {
                let profiles = self.role(name)?.profiles.iter();
                let profiles: String = profiles.map(|it| instance_profile(it)).collect();
                return Ok(iam(operation, &format!("<InstanceProfiles>{profiles}</InstanceProfiles>")));
            }
            "UpdateRole" => {
                let role = self.role(name)?;
                if let Some(description) = form.get("Description") {
                    role.description.clone_from(description);
                }
                if let Some(seconds) = form.get("MaxSessionDuration") {
                    role.max_session_duration = Some(seconds.parse().unwrap());
                }
            }
            "UpdateAssumeRolePolicy" => {
                let document = given("PolicyDocument");
                check_trust(&document)?;
                let role = self.role(name)?;
                (role.trust, role.refusals) = (Some(normalized_principals(&document)), REFUSALS);
            }
            "PutRolePermissionsBoundary" => self.role(name)?.boundary = Some(given("PermissionsBoundary")),
            "DeleteRolePermissionsBoundary" => self.role(name)?.boundary = None,
            "TagRole" => self.role(name)?.tags.extend(tags(form)?),
            "UntagRole" => {
                let keys = listed(form, "TagKeys", "");
                self.role(name)?.tags.retain(|key, _| !keys.contains(key));
            }
            "PutRolePolicy" => {
                let (policy, document) = (given("PolicyName"), given("PolicyDocument"));
                check_document(&document, false)?;
                let role = self.role(name)?;
                role.check_inline(name, &policy, &document)?;
                role.inline.insert(policy, document);
            }
            "DeleteRolePolicy" => {
                let (role, policy) = (self.role(name)?, given("PolicyName"));
                let text = format!("The role policy with name {policy} cannot be found.");
                role.inline.remove(&policy).ok_or_else(|| Reply::query(404, "NoSuchEntity", &text))?;
            }
            "AttachRolePolicy" => {
                let (role, arn) = (self.role(name)?, given("PolicyArn"));
                if !role.attached.contains(&arn) && role.attached.len() == MANAGED_POLICIES {
                    return Err(exceeded("Cannot exceed quota for PoliciesPerRole: 10"));
                }
                if arn.ends_with("/missing") {
                    let text = format!("Policy {arn} does not exist or is not attachable.");
                    return Err(Reply::query(404, "NoSuchEntity", &text));
                }
                role.attached.insert(arn);
            }
            _ => {
                let (role, arn) = (self.role(name)?, given("PolicyArn"));
                if !role.attached.remove(&arn) {
                    return Err(Reply::query(404, "NoSuchEntity", &format!("Policy {arn} was not found.")));
                }
                role.lingering = LINGERING;
            }
        }
        Ok(done(operation))
    }

    fn create_role(&mut self, name: &str, form: &BTreeMap<String, String>) -> Result<Reply, Reply> {
        if self.role_name(name).is_some() {
            let text = format!("Role with name {name} already exists.");
            return Err(Reply::query(409, "EntityAlreadyExists", &text));
        }
        let document = form["AssumeRolePolicyDocument"].clone();
        check_trust(&document)?;
        let role = Role {
            path: form.get("Path").cloned().unwrap_or_else(|| "/".to_owned()),
            description: form.get("Description").cloned().unwrap_or_default(),
            max_session_duration: form.get("MaxSessionDuration").map(|it| it.parse().unwrap()),
            trust: Some(normalized_principals(&document)),
            tags: tags(form)?,
            boundary: form.get("PermissionsBoundary").cloned(),
            id: format!("AROA{:016}", self.id()),
            has_own_policies: true,
            created: Some(humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()),
            hidden: READS,
            without_arn: READS,
            refusals: REFUSALS,
            ..Role::default()
        };
        // The response lacks the maximum duration and the tags' order is arbitrary.
        let shown = Role { max_session_duration: None, ..role.clone() };
        self.roles.insert(name.to_owned(), role);
        Ok(iam("CreateRole", &format!("<Role>{}</Role>", self.members(name, &shown, &shown.arn(name), true))))
    }

    fn delete_role(&mut self, name: &str) -> Result<(), Reply> {
        let known = self.role_name(name).ok_or_else(|| missing(name))?;
        let role = self.roles.get_mut(&known).unwrap();
        if !role.profiles.is_empty() {
            return Err(in_use("remove roles from instance profile"));
        }
        if !role.attached.is_empty() || role.lingering > 0 {
            role.lingering = role.lingering.saturating_sub(1);
            return Err(in_use("detach all policies"));
        }
        if !role.inline.is_empty() {
            return Err(in_use("delete policies"));
        }
        self.roles.remove(&known);
        Ok(())
    }

    fn get_role(&mut self, name: &str) -> Result<Reply, Reply> {
        let known = self.role_name(name).ok_or_else(|| missing(name))?;
        let role = self.roles.get_mut(&known).unwrap();
        if role.hidden > 0 {
            role.hidden -= 1;
            return Err(missing(name));
        }
        // Right after its creation, IAM may show the ID in place of the ARN.
        let arn = if role.without_arn > 0 { role.id.clone() } else { role.arn(&known) };
        role.without_arn = role.without_arn.saturating_sub(1);
        let role = role.clone();
        Ok(iam("GetRole", &format!("<Role>{}</Role>", self.members(&known, &role, &arn, true))))
    }

    /// Lists show neither tags nor boundaries
    /// (docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html).
    fn list_roles(&self, form: &BTreeMap<String, String>) -> Reply {
        let prefix = form.get("PathPrefix").map_or("/", String::as_str);
        let found: Vec<(&String, &Role)> =
            self.roles.iter().filter(|(_, role)| role.path.starts_with(prefix) && role.hidden == 0).collect();
        let page: usize = form.get("Marker").map_or(0, |marker| marker.parse().unwrap());
        let size = if self.small_pages { 1 } else { 1000 };
        let roles = found.iter().skip(page * size).take(size);
        let roles: String = roles
            .map(|(name, role)| format!("<member>{}</member>", self.members(name, role, &role.arn(name), false)))
            .collect();
        let has_more = found.len() > (page + 1) * size;
        let marker = if has_more { format!("<Marker>{}</Marker>", page + 1) } else { String::new() };
        Reply::xml(
            200,
            format!(
                "<ListRolesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListRolesResult>\
                 <IsTruncated>{has_more}</IsTruncated>{marker}<Roles>{roles}</Roles></ListRolesResult></ListRolesResponse>"
            ),
        )
    }

    /// The members of a role in an answer.
    fn members(&self, name: &str, role: &Role, arn: &str, is_whole: bool) -> String {
        let lambda = json!({ "Service": "lambda.amazonaws.com" });
        let statement = json!([{ "Effect": "Allow", "Principal": lambda, "Action": "sts:AssumeRole" }]);
        let usual = json!({ "Version": "2012-10-17", "Statement": statement });
        let trust = role.trust.clone().unwrap_or_else(|| self.trust.as_ref().unwrap_or(&usual).to_string());
        let created = role.created.as_deref().or(self.roles_created).unwrap_or("2025-11-01T09:00:00Z");
        let mut shown = format!(
            "<Path>{}</Path><RoleName>{name}</RoleName><RoleId>{}</RoleId><Arn>{arn}</Arn><CreateDate>{created}</CreateDate>\
             <AssumeRolePolicyDocument>{}</AssumeRolePolicyDocument><MaxSessionDuration>{}</MaxSessionDuration>",
            role.path,
            role.id,
            encoded(&trust),
            role.max_session_duration.unwrap_or(3600),
        );
        if !role.description.is_empty() {
            shown.push_str(&format!("<Description>{}</Description>", escaped(&role.description)));
        }
        if is_whole {
            let tag = |(key, value): (&String, &String)| {
                format!("<member><Key>{}</Key><Value>{}</Value></member>", escaped(key), escaped(value))
            };
            shown.push_str(&format!("<Tags>{}</Tags>", role.tags.iter().map(tag).collect::<String>()));
            shown.push_str(&match role.used_in {
                Some(region) => format!(
                    "<RoleLastUsed><LastUsedDate>2025-11-20T09:00:00Z</LastUsedDate><Region>{region}</Region></RoleLastUsed>"
                ),
                None => "<RoleLastUsed/>".to_owned(),
            });
        }
        if let Some(boundary) = role.boundary.as_ref().filter(|_| is_whole) {
            shown.push_str(&format!(
                "<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType>\
                 <PermissionsBoundaryArn>{boundary}</PermissionsBoundaryArn></PermissionsBoundary>"
            ));
        }
        shown
    }

    /// The policies of a role whose policies the caller can read.
    fn own_policies(&mut self, call: &Call) -> Result<Reply, Reply> {
        let role = self.role(&call.about)?;
        if role.hidden > 0 {
            role.hidden -= 1;
            return Err(missing(&call.about));
        }
        Ok(match call.operation {
            "ListAttachedRolePolicies" => {
                let policy = |arn: &String| {
                    let name = arn.rsplit('/').next().unwrap();
                    format!("<member><PolicyName>{name}</PolicyName><PolicyArn>{arn}</PolicyArn></member>")
                };
                let all: String = role.attached.iter().map(policy).collect();
                iam(call.operation, &format!("<AttachedPolicies>{all}</AttachedPolicies>"))
            }
            "ListRolePolicies" => {
                let all: String = role.inline.keys().map(|name| format!("<member>{name}</member>")).collect();
                iam(call.operation, &format!("<PolicyNames>{all}</PolicyNames>"))
            }
            _ => {
                let policy = &call.query["PolicyName"];
                let text = format!("The role policy with name {policy} cannot be found.");
                let document = role.inline.get(policy).ok_or_else(|| Reply::query(404, "NoSuchEntity", &text))?;
                let result = format!(
                    "<RoleName>{}</RoleName><PolicyName>{policy}</PolicyName><PolicyDocument>{}</PolicyDocument>",
                    call.about,
                    encoded(document)
                );
                iam(call.operation, &result)
            }
        })
    }
}

fn check_trust(document: &str) -> Result<(), Reply> {
    check_document(document, true)?;
    match characters(document) > TRUST_CHARACTERS {
        true => Err(exceeded("Cannot exceed quota for ACLSizePerRole: 2048")),
        false => Ok(()),
    }
}

fn instance_profile(name: &str) -> String {
    format!(
        "<member><Path>/</Path><InstanceProfileName>{name}</InstanceProfileName><InstanceProfileId>AIPA</InstanceProfileId>\
         <Arn>arn:aws:iam::{ACCOUNT}:instance-profile/{name}</Arn><CreateDate>2025-11-01T09:00:00Z</CreateDate>\
         <Roles/></member>"
    )
}
