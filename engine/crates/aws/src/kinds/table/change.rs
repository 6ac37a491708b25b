//! Changes an existing table: one aspect per UpdateTable, and the next one only once the table is
//! ACTIVE and shows the last
//! (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html).
//!
//! **Invariant:** a request contains only differences, because AWS rejects a request that changes
//! nothing; and the result comes from a read, never from the response to a change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder as UpdateTable;
use aws_sdk_dynamodb::types::{
    BillingMode, DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, PointInTimeRecoverySpecification,
    StreamSpecification, TableClass, TableDescription, TableStatus, TimeToLiveSpecification,
    UpdateGlobalSecondaryIndexAction,
};

use crate::aws::{AwsError, CallContext, Code, Context, Wait};
use crate::schema::Id;

use super::super::readable;
use super::index::GlobalIndex;
use super::throughput::maximum;
use super::{
    BUSY, ENCRYPTION, INDEX, INDEX_DELETED, MANAGED_KEY, Props, RECOVERY_PERIOD, UPDATE, UPKEEP, WARMING, definitions,
    describe, encryption, incomplete, props, provisioned, read_recovery, read_ttl, recovery_of, stream, ttl_of,
    under_way,
};

/// Changes an idle table from `have` to `want`, except for its tags. Protections are turned on
/// first and off last; the change that AWS can reject for an hour comes at the end.
pub(super) async fn carry_out(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    let protects = |on: bool| {
        let edit = move |it: UpdateTable| it.deletion_protection_enabled(on);
        alter(cx, id, UPDATE, edit, |live| live.deletion_protection.unwrap_or_default(), !on, on)
    };
    if want.deletion_protection == Some(true) && have.deletion_protection != Some(true) {
        protects(true).await?;
    }
    let remaining = drop_indexes(cx, id, have, want).await?;
    change_capacity(cx, id, have, want, &remaining).await?;
    change_maximum(cx, id, have, want, &remaining).await?;
    make_indexes(cx, id, remaining, want).await?;
    change_stream(cx, id, have, want).await?;
    if have.table_class != want.table_class {
        let class = TableClass::from(want.table_class.as_str());
        let (from, to) = (have.table_class.clone(), want.table_class.clone());
        alter(cx, id, UPDATE, |it| it.table_class(class.clone()), |live| live.table_class.clone(), from, to).await?;
    }
    if have.kms_key_arn != want.kms_key_arn {
        let encryption = encryption(want.kms_key_arn.as_deref());
        let edit = |it: UpdateTable| it.sse_specification(encryption.clone());
        let (from, to) = (have.kms_key_arn.clone(), want.kms_key_arn.clone());
        // For the AWS managed key, accept any key that appears.
        let read_value = |live: &Props| match &live.kms_key_arn {
            Some(_) if to.as_deref() == Some(MANAGED_KEY) => to.clone(),
            key => key.clone(),
        };
        alter(cx, id, ENCRYPTION, edit, read_value, from, to.clone()).await?;
    }
    raise_warm_throughput(cx, id, have, want).await?;
    if recovery_of(have) != recovery_of(want) {
        set_recovery(cx, id, recovery_of(want)).await?;
    }
    if want.deletion_protection == Some(false) && have.deletion_protection != Some(false) {
        protects(false).await?;
    }
    if ttl_of(have) != ttl_of(want) {
        set_ttl(cx, id, ttl_of(want)).await?;
    }
    Ok(())
}

/// Deletes unwanted and changed indexes, one after the other; returns those that remain.
async fn drop_indexes(
    cx: &Context,
    id: &Id,
    have: &Props,
    want: &Props,
) -> Result<BTreeMap<String, GlobalIndex>, AwsError> {
    let mut remaining = have.global_secondary_indexes.clone();
    for (name, index) in &have.global_secondary_indexes {
        let types = |props: &Props| index.keys().map(|key| props.attributes.get(key).cloned()).collect::<Vec<_>>();
        let stays = want.global_secondary_indexes.get(name).is_some_and(|it| it.is_like(index));
        if stays && types(have) == types(want) {
            continue;
        }
        let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().map_err(incomplete)?;
        let delete = GlobalSecondaryIndexUpdate::builder().delete(delete).build();
        let edit = |it: UpdateTable| it.global_secondary_index_updates(delete.clone());
        alter(cx, id, INDEX_DELETED, edit, |live| live.global_secondary_indexes.contains_key(name), true, false)
            .await?;
        remaining.remove(name);
    }
    Ok(remaining)
}

/// Changes the billing mode and the capacity of the table and its remaining indexes in one call.
async fn change_capacity(
    cx: &Context,
    id: &Id,
    have: &Props,
    want: &Props,
    remaining: &BTreeMap<String, GlobalIndex>,
) -> Result<(), AwsError> {
    let capacity = |props: &Props| (props.read_capacity, props.write_capacity);
    let mode = (have.billing_mode != want.billing_mode).then(|| BillingMode::from(want.billing_mode.as_str()));
    // AWS rejects equal values unless the billing mode changes, too.
    let of_table = if mode.is_some() || capacity(have) != capacity(want) { provisioned(capacity(want))? } else { None };
    let mut of_indexes = Vec::new();
    for (name, index) in remaining {
        let Some(wanted) = want.global_secondary_indexes.get(name) else { continue };
        if let Some(throughput) = provisioned(wanted.capacity())?
            && wanted.capacity() != index.capacity()
        {
            let update = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
            let update = update.provisioned_throughput(throughput).build().map_err(incomplete)?;
            of_indexes.push(GlobalSecondaryIndexUpdate::builder().update(update).build());
        }
    }
    if mode.is_none() && of_table.is_none() && of_indexes.is_empty() {
        return Ok(());
    }
    let of_indexes = (!of_indexes.is_empty()).then_some(of_indexes);
    let edit = |request: UpdateTable| {
        let request = request.set_billing_mode(mode.clone()).set_provisioned_throughput(of_table.clone());
        request.set_global_secondary_index_updates(of_indexes.clone())
    };
    let read_value = |props: &Props| {
        let of_index = |name: &String| props.global_secondary_indexes.get(name).map(GlobalIndex::capacity);
        (props.billing_mode.clone(), capacity(props), remaining.keys().map(of_index).collect::<Vec<_>>())
    };
    alter(cx, id, UPDATE, edit, read_value, read_value(have), read_value(want)).await
}

/// Changes the maximum in on-demand mode, of the table and of its remaining indexes.
async fn change_maximum(
    cx: &Context,
    id: &Id,
    have: &Props,
    want: &Props,
    remaining: &BTreeMap<String, GlobalIndex>,
) -> Result<(), AwsError> {
    // With provisioned capacity, there is none.
    if want.billing_mode != BillingMode::PayPerRequest.as_str() {
        return Ok(());
    }
    let (from, to) = (&have.on_demand_throughput, &want.on_demand_throughput);
    if from != to {
        let edit = |it: UpdateTable| it.on_demand_throughput(maximum(to.as_ref()));
        alter(cx, id, UPDATE, edit, |live| live.on_demand_throughput.clone(), from.clone(), to.clone()).await?;
    }
    for (name, index) in remaining {
        let Some(wanted) = want.global_secondary_indexes.get(name) else { continue };
        let (from, to) = (index.maximum().cloned(), wanted.maximum().cloned());
        if from == to {
            continue;
        }
        let update = UpdateGlobalSecondaryIndexAction::builder().index_name(name);
        let update = update.on_demand_throughput(maximum(to.as_ref())).build().map_err(incomplete)?;
        let update = GlobalSecondaryIndexUpdate::builder().update(update).build();
        let edit = |it: UpdateTable| it.global_secondary_index_updates(update.clone());
        let read_value = |live: &Props| live.global_secondary_indexes.get(name).and_then(|it| it.maximum().cloned());
        alter(cx, id, UPDATE, edit, read_value, from, to).await?;
    }
    Ok(())
}

/// Raises the warm throughput. AWS may raise it further by itself.
async fn raise_warm_throughput(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    let (Some(current), Some(wanted)) = (&have.warm_throughput, &want.warm_throughput) else { return Ok(()) };
    if current.covers(wanted) {
        return Ok(());
    }
    let edit = |it: UpdateTable| it.warm_throughput(wanted.request(Some(current)));
    let read_value = |live: &Props| live.warm_throughput.as_ref().is_some_and(|it| it.covers(wanted));
    alter(cx, id, WARMING, edit, read_value, false, true).await
}

/// Creates the missing indexes, one after the other, and waits until each is built.
async fn make_indexes(
    cx: &Context,
    id: &Id,
    mut indexes: BTreeMap<String, GlobalIndex>,
    want: &Props,
) -> Result<(), AwsError> {
    for (name, index) in &want.global_secondary_indexes {
        if indexes.contains_key(name) {
            continue;
        }
        indexes.insert(name.clone(), index.clone());
        // Only attributes that keys use at this point: AWS rejects others.
        let definitions = definitions(&want.attributes, &want.key_attributes(&indexes))?;
        let create = GlobalSecondaryIndexUpdate::builder().create(index.action(name)?).build();
        let edit = |request: UpdateTable| {
            let request = request.set_attribute_definitions(Some(definitions.clone()));
            request.global_secondary_index_updates(create.clone())
        };
        let read_value = |live: &Props| live.global_secondary_indexes.contains_key(name);
        alter(cx, id, INDEX, edit, read_value, false, true).await?;
    }
    Ok(())
}

/// Changes the stream. AWS can't change its view type, so it is disabled and a new one enabled.
async fn change_stream(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    if have.stream_view_type == want.stream_view_type {
        return Ok(());
    }
    let read_value = |live: &Props| live.stream_view_type.clone();
    if have.stream_view_type.is_some() {
        let off = StreamSpecification::builder().stream_enabled(false).build().map_err(incomplete)?;
        let from = have.stream_view_type.clone();
        alter(cx, id, UPDATE, |it| it.stream_specification(off.clone()), read_value, from, None).await?;
    }
    if let Some(on) = stream(want.stream_view_type.as_deref())? {
        let to = want.stream_view_type.clone();
        alter(cx, id, UPDATE, |it| it.stream_specification(on.clone()), read_value, None, to).await?;
    }
    Ok(())
}

/// Sets point-in-time recovery, unless it is already set.
pub(super) async fn set_recovery(cx: &Context, id: &Id, want: Option<i32>) -> Result<(), AwsError> {
    // Set it even if you lack permission to read it.
    let now = readable(cx.read(&id.name, || read_recovery(cx, &id.name)).await)?;
    if now == Some(want) {
        return Ok(());
    }
    // Without a period, AWS uses the default one.
    let period = want.filter(|days| now != Some(None) || *days != RECOVERY_PERIOD);
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(want.is_some());
    let recovery = recovery.set_recovery_period_in_days(period).build().map_err(incomplete)?;
    // For a few seconds after a create, AWS reports that backups are not available yet.
    let send = || async {
        let request = cx.aws.dynamodb.update_continuous_backups().table_name(&id.name);
        let request = request.point_in_time_recovery_specification(recovery.clone());
        request.send().await.context("UpdateContinuousBackups", &id.name)
    };
    cx.send(BUSY, &id.name, send).await?;
    let applied = || async {
        let now = readable(read_recovery(cx, &id.name).await)?;
        Ok(now.is_none_or(|now| now.is_some() == want.is_some()).then_some(()))
    };
    cx.until(UPKEEP, &id.name, applied).await
}

/// Sets the time-to-live attribute, unless it is already set. To change it, AWS requires turning it
/// off first.
pub(super) async fn set_ttl(cx: &Context, id: &Id, want: Option<&str>) -> Result<(), AwsError> {
    // Set it even if you lack permission to read it.
    let now = readable(cx.read(&id.name, || read_ttl(cx, &id.name)).await)?.flatten();
    if now.as_deref() == want {
        return Ok(());
    }
    for (attribute, on) in now.as_deref().map(|old| (old, false)).into_iter().chain(want.map(|new| (new, true))) {
        let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(on);
        let ttl = ttl.build().map_err(incomplete)?;
        let send = || async {
            let request = cx.aws.dynamodb.update_time_to_live().table_name(&id.name);
            let request = request.time_to_live_specification(ttl.clone());
            match request.send().await.context("UpdateTimeToLive", &id.name) {
                Err(error) if error.is(Code::NothingToChange) => Ok(()),
                answer => answer.map(|_| ()),
            }
        };
        cx.send(BUSY, &id.name, send).await?;
        let applied = || async {
            let now = readable(read_ttl(cx, &id.name).await)?;
            Ok(now.is_none_or(|now| now.as_deref() == on.then_some(attribute)).then_some(()))
        };
        cx.until(UPKEEP, &id.name, applied).await?;
    }
    Ok(())
}

/// How many reads of an idle table may show old values after AWS accepted a change: some reads are
/// stale.
const LAGGING_READS: u32 = 120;

/// Sends one UpdateTable after earlier changes have finished, and waits until the table is idle and
/// shows the change in two consecutive reads, since one alone may come from a replica that is
/// ahead. `read_value` extracts the changed value, which goes `from` one value `to` another; any other
/// value is a change outside this run, which must not be overwritten.
async fn alter<V: PartialEq>(
    cx: &Context,
    id: &Id,
    wait: Wait,
    edit: impl Fn(UpdateTable) -> UpdateTable,
    read_value: impl Fn(&Props) -> V,
    from: V,
    to: V,
) -> Result<(), AwsError> {
    let now = |table: &TableDescription| read_value(&props(table, BTreeMap::new()));
    let changed = || AwsError::changed("UpdateTable", &id.name, "the table was changed outside this run");
    let send = || async {
        match edit(cx.aws.dynamodb.update_table().table_name(&id.name)).send().await.context("UpdateTable", &id.name) {
            // "Unchanged" and a missing index are fine: the reads that follow decide.
            Err(error) if error.is_any(&[Code::NothingToChange, Code::NotFound]) => Ok(()),
            answer => answer.map(|_| ()),
        }
    };
    // After a lost response, the table may already show this change in progress.
    let again = || async {
        let table = present(cx, id).await?;
        if !is_idle(&table) {
            Err(AwsError::own(Code::Busy, "UpdateTable", &id.name, "another change is in progress"))
        } else if now(&table) == to {
            Ok(Some(()))
        } else if now(&table) == from {
            Ok(None)
        } else {
            Err(changed())
        }
    };
    cx.change(Wait { budget: wait.budget.max(BUSY.budget), ..BUSY }, &id.name, send, again).await?;
    let (seen, other, lagging) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let probe = || async {
        let table = present(cx, id).await?;
        let (now, is_idle) = (now(&table), is_idle(&table));
        // The number of consecutive reads for which the condition holds.
        let count = |counter: &AtomicU32, holds: bool| {
            let reads = if holds { counter.load(Ordering::Relaxed) + 1 } else { 0 };
            counter.store(reads, Ordering::Relaxed);
            reads
        };
        let n_applied = count(&seen, is_idle && now == to);
        if count(&other, is_idle && now != to && now != from) >= 2 {
            return Err(changed());
        }
        if count(&lagging, is_idle && now != to) >= LAGGING_READS {
            let message = "AWS accepted the change, but the table still shows the old values";
            return Err(AwsError::own(Code::NotAsAsked, "UpdateTable", &id.name, message));
        }
        Ok((n_applied >= 2).then_some(()))
    };
    cx.until(wait, &id.name, probe).await
}

/// The table, or an error if it doesn't exist.
async fn present(cx: &Context, id: &Id) -> Result<TableDescription, AwsError> {
    let missing = || AwsError::changed("UpdateTable", &id.name, "the table no longer exists");
    describe(cx, &id.name).await?.ok_or_else(missing)
}

fn is_idle(table: &TableDescription) -> bool {
    table.table_status() == Some(&TableStatus::Active) && under_way(table).is_none()
}

/// Waits until no change of the table is in progress, and returns it. Only an ACTIVE table shows
/// all changes in progress.
pub(super) async fn wait_idle(cx: &Context, id: &Id) -> Result<TableDescription, AwsError> {
    let active = || async {
        let table = present(cx, id).await?;
        Ok((table.table_status() == Some(&TableStatus::Active)).then_some(table))
    };
    let table = cx.until(UPDATE, &id.name, active).await?;
    let Some((wait, _)) = under_way(&table) else { return Ok(table) };
    let idle = || async {
        let table = present(cx, id).await?;
        Ok(is_idle(&table).then_some(table))
    };
    cx.until(wait, &id.name, idle).await
}
