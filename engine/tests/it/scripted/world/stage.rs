//! Resources that exist in the account long before a test begins.

use serde_json::json;

use super::{Call, ROLE, Tags, World, role_arn};
use super::{lambda::Mapping, table::Table};

impl World {
    /// An old, empty on-demand table, with a stream of both images if `has_stream`.
    pub(in crate::scripted) fn add_table(&mut self, name: &str, has_stream: bool, tags: Tags) -> &mut Table {
        let mut table = World::one_table();
        table.reincarnate();
        table.tags = tags;
        self.tables.insert(name.to_owned(), table);
        if has_stream {
            let stream = json!({ "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" });
            self.have_changed(name, &json!({ "StreamSpecification": stream }));
        }
        self.tables.get_mut(name).unwrap()
    }

    /// An old function with default settings.
    pub(in crate::scripted) fn add_function(&mut self, name: &str, tags: Tags) {
        let body = json!({
            "FunctionName": name,
            "Runtime": "nodejs22.x",
            "Handler": "index.handler",
            "Role": role_arn("/", ROLE),
            "Code": { "ZipFile": "" },
            "Tags": tags,
        });
        let look = |operation, body| Call { operation, about: name.to_owned(), body, query: Tags::new() };
        self.functions.remove(name);
        self.execute(&look("CreateFunction", body));
        // Until it is no longer Pending.
        for _ in 0..4 {
            self.execute(&look("GetFunction", json!({})));
        }
    }

    /// An empty log group with default settings.
    pub(in crate::scripted) fn add_log_group(&mut self, name: &str, tags: Tags) {
        let look = Call {
            operation: "CreateLogGroup",
            about: name.to_owned(),
            body: json!({ "logGroupName": name }),
            query: Tags::new(),
        };
        self.execute(&look);
        self.log_groups.get_mut(name).unwrap().tags = tags;
    }

    /// An old mapping; `function` may have a qualifier, and neither end has to exist.
    pub(in crate::scripted) fn add_mapping(&mut self, function: &str, stream: &str, tags: Tags) {
        let uuid = format!("00000000-0000-4000-8000-{:012}", self.id());
        self.mappings.push(Mapping::old(&uuid, function, stream, tags));
    }
}
