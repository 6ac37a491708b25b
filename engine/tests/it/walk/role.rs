//! The walks of a role's properties. engine doesn't manage roles: it refuses a difference and never
//! writes.

use serde_json::json;

use super::stage::Request::Remake;
use super::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("role", "path", "path: /", "path: /teams/")
            .seen("/Path", json!("/"), json!("/"), json!("/"))
            .shows(&[("execution-role", "refused", &["path"])])
            .drift(Remake(json!({ "Path": "/teams/" })))
            // The path is part of the ARN that the function has.
            .drift_shows(&[("execution-role", "refused", &["path"]), ("logger", "update", &["role"])])
            .drift(Remake(json!({ "Path": "/" })))
            .checked("path"),
    ]
}
