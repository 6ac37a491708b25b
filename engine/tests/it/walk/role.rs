//! The walks of a role's properties. A role is somebody else's: what differs is refused, and nothing is ever written.

use serde_json::json;

use super::stage::Request::Remake;
use super::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("role", "path", "path: /", "path: /")
            .seen("/Path", json!("/"), json!("/"), json!("/"))
            .drift(Remake(json!({ "Path": "/teams/" }))),
    ]
}
