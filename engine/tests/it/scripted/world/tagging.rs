//! The tag index: it lags behind, shows deleted resources, and omits mappings unless a test enables
//! them.

use serde_json::{Value as Json, json};

use super::{ACCOUNT, REGION, Reply, Tags, World, function_arn};

/// Defects of the index that a test can enable.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagIndex {
    /// It doesn't know any resource yet.
    pub(crate) blind: bool,
    /// It includes mappings.
    pub(crate) mappings: bool,
    /// ARNs and tags of deleted resources.
    pub(crate) ghosts: Vec<(String, Tags)>,
}

impl World {
    pub(super) fn get_resources(&self, body: &Json) -> Result<Reply, Reply> {
        let filters = body["TagFilters"].as_array().cloned().unwrap_or_default();
        let types: Vec<&str> =
            body["ResourceTypeFilters"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        let mut known: Vec<(String, &Tags)> = Vec::new();
        if !self.index.blind {
            for (name, table) in &self.tables {
                known.push((format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"), &table.tags));
            }
            for (name, queue) in &self.queues {
                known.push((super::queue::arn(name), &queue.tags));
            }
            for (name, group) in &self.log_groups {
                known.push((format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"), &group.tags));
            }
            for (name, function) in &self.functions {
                known.push((function_arn(name), &function.tags));
            }
        }
        if self.index.mappings {
            known.extend(
                self.mappings.iter().map(|mapping| {
                    (mapping.shown["EventSourceMappingArn"].as_str().unwrap().to_owned(), &mapping.tags)
                }),
            );
        }
        known.extend(self.index.ghosts.iter().map(|(arn, tags)| (arn.clone(), tags)));
        let wanted = |(arn, tags): &(String, &Tags)| {
            let of_type = types.iter().any(|it| {
                let (service, word) = it.split_once(':').unwrap_or((it, ""));
                arn.contains(&format!(":{service}:")) && arn.contains(&format!(":{word}"))
            });
            of_type
                && filters.iter().all(|filter| {
                    let value = tags.get(filter["Key"].as_str().unwrap());
                    let values = filter["Values"].as_array().cloned().unwrap_or_default();
                    value.is_some_and(|value| values.is_empty() || values.iter().any(|it| it == value))
                })
        };
        let mut found: Vec<Json> = known
            .into_iter()
            .filter(wanted)
            .map(|(arn, tags)| {
                let tags: Vec<Json> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
                json!({ "ResourceARN": arn, "Tags": tags })
            })
            .collect();
        // The first page is empty, and each of the others has one entry.
        let page: usize = body["PaginationToken"].as_str().unwrap_or("0").parse().unwrap_or(0);
        let (list, token) = match (self.small_pages, page) {
            (false, _) => (found, String::new()),
            (true, 0) => (Vec::new(), "1".to_owned()),
            (true, page) if page <= found.len() => {
                let token = if page == found.len() { String::new() } else { (page + 1).to_string() };
                (vec![found.swap_remove(page - 1)], token)
            }
            (true, _) => (Vec::new(), String::new()),
        };
        Ok(Reply::ok(&json!({ "PaginationToken": token, "ResourceTagMappingList": list })))
    }
}
