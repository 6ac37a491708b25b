//! `role`: an existing IAM role. engine reads and verifies it, and never changes it.
//!
//! ```yaml
//! team: blue-owls
//! resources:
//!   execution-role:
//!     type: role
//!     import: fhms-pulumi-challenge-lambda-execution-role
//! ```

pub(super) mod operations;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::aws::{AwsError, Context, Existing};
use crate::kind::Kind;
use crate::operation::Operation;
use crate::schema::{
    ArnForm, Id, Identity, Live, Output, Outputs, Ownership, Reading, Schema, Shape, Status, Text, Timestamps, property,
};
use engine_core::kind::Want;

pub(super) struct Role;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Props {
    path: Option<String>,
}

/// docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html
static NAME: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=64, "letters, digits and `_+=,.@-`", |text| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
    })
});

/// docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
static PATH: LazyLock<Text> = LazyLock::new(|| {
    Text::new(1..=512, "`/`, or names between slashes, like `/teams/`", |text| {
        text.starts_with('/') && text.ends_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
});

impl Kind for Role {
    type Props = Props;

    fn schema(&self) -> Schema {
        Schema {
            kind: "role".into(),
            summary: "an existing IAM role, looked up with `import:`".into(),
            remark: "".into(),
            source: "https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html".into(),
            identity: Identity::Named { text: NAME.clone() },
            managed: false,
            importable: true,
            adoptable: false,
            holds_data: false,
            delete_block: None,
            retained_on_delete: None,
            disruption: None,
            recreate_note: None,
            properties: vec![
                property(
                    "path",
                    Shape::Text(PATH.clone()),
                    "required path of the role; if omitted, any path is accepted",
                )
                .no_references()
                .verify_only(),
            ],
            arn: Some(ArnForm::global("iam", "role/{path}{name}")),
            is_indexed: false,
            outputs: vec![
                Output::assigned("arn", "the role's ARN"),
                Output::computed("name", "the role's name", |_, name| name.to_owned()),
            ],
        }
    }

    async fn read(&self, cx: &Context, id: &Id) -> Result<Reading<Props>, AwsError> {
        let answer = cx.aws.role(&id.name).await.if_exists()?;
        let Some(role) = answer.and_then(|answer| answer.role) else { return Ok(None.into()) };
        let trust = role.assume_role_policy_document.as_deref().unwrap_or_default();
        cx.aws.seen.note_trust(&role.role_name, trust);
        // AWS always sends it; the SDK uses an empty string if it is missing.
        let path = Some(role.path).filter(|path| !path.is_empty());
        let unknown = super::missing([("path", path.is_none())]);
        let live = Live {
            props: Props { path },
            timestamps: Timestamps { created: role.create_date.to_millis().ok(), modified: None },
            outputs: BTreeMap::from([("arn".to_owned(), role.arn), ("name".to_owned(), role.role_name)]),
            owner: Ownership::Nobody,
            status: Status::Stable,
            unique_id: Some(role.role_id),
            revision: None,
            notes: Vec::new(),
            unknown,
        };
        Ok(Some(live).into())
    }

    async fn create(&self, _: &Context, _: &Id, _: Want<Props>) -> Result<Outputs, AwsError> {
        Err(never())
    }

    async fn update(&self, _: &Context, _: &Id, _: Live<Props>, _: Want<Props>) -> Result<Outputs, AwsError> {
        Err(never())
    }

    async fn wait_ready(&self, _: &Context, _: &Id, _: &Props, _: &[&str], _: &Outputs) -> Result<(), AwsError> {
        Err(never())
    }

    async fn delete(&self, _: &Context, _: &Id, _: Live<Props>) -> Result<(), AwsError> {
        Err(never())
    }

    fn operations(&self) -> &'static [Operation] {
        operations::OPERATIONS
    }
}

fn never() -> AwsError {
    AwsError::defect("roles are read-only".to_owned())
}
