//! Tests of reads and of matching declarations to resources, on in-memory kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::inventory::Inventory;
use engine::live::{self, OrphanSearch};
use engine::plan::{Goal, Options};
use engine::schema::{Id, Owner};
use engine::spec::Lifecycle;

use crate::schedule::{Stage, node};

#[tokio::test(start_paused = true)]
async fn a_child_without_its_parent_is_read_again() {
    let stage = Stage::new();
    let nodes = [node("parent"), node("part").on("parent")];
    stage.deploy(&nodes).await;
    let spec = stage.spec(&nodes);
    // Another client creates both between the two reads.
    stage.miss("parent");
    let options = Options::default();
    let read = live::read(&stage.cx, &spec, Goal::Present, &options, OrphanSearch::Ignored, Some("123456789012"));
    let inventory = read.await.unwrap();
    assert!(inventory.live("part").is_some() && inventory.live("parent").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_renamed_resource_keeps_its_lifecycle_settings_as_an_orphan() {
    let stage = Stage::new();
    let nodes = [node("a")];
    stage.deploy(&nodes).await;
    let mut spec = stage.spec(&nodes);
    let Inventory { env, found, .. } = stage.plan(&spec, Goal::Present).await.0;
    let live = found["a"].live.clone().unwrap();
    let lifecycle = Lifecycle { protect: true, retain: true, ..Lifecycle::default() };
    spec.resources[0].lifecycle = lifecycle.clone();
    let owner = |resource: &str| Owner { resource: resource.to_owned(), ..spec.resources[0].id.owner.clone() };
    for (tagged, instead, expected) in [
        ("a", None, lifecycle),
        // Neither another resource nor a duplicate counts as the renamed one.
        ("b", None, Lifecycle::default()),
        ("a", Some("a".to_owned()), Lifecycle::default()),
    ] {
        let id = Id {
            owner: owner(tagged),
            name: "owls-former".to_owned(),
            arn: None,
            parents: BTreeMap::new(),
            env: None,
            unique_id: None,
        };
        let mut inventory = Inventory::new(env.clone());
        inventory.add_orphan(&spec, &Arc::clone(&stage.thing), id, live.clone(), instead);
        assert_eq!(inventory.orphans[0].declared.lifecycle, expected, "{tagged}");
    }
}
