//! How AWS lets a living table be changed: one concern for each UpdateTable, and the next only once the table is ACTIVE
//! and shows the last (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html).
//!
//! **Invariant:** what differs is sent and nothing else, for AWS refuses what changes nothing; and no answer to a change
//! is taken for what it came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder as UpdateTable;
use aws_sdk_dynamodb::types::{
    BillingMode, DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, PointInTimeRecoverySpecification,
    StreamSpecification, TableClass, TableDescription, TableStatus, TimeToLiveSpecification,
    UpdateGlobalSecondaryIndexAction,
};

use crate::aws::{AwsError, Class, Context, Named, Wait};
use crate::schema::Id;

use super::super::readable;
use super::index::GlobalIndex;
use super::{
    BUSY, ENCRYPTION, INDEX, INDEX_GONE, MANAGED_KEY, Props, RECOVERY_PERIOD, UPDATE, UPKEEP, definitions, describe,
    encryption, incomplete, props, read_recovery, read_ttl, recovery_of, stream, throughput, ttl_of, under_way,
};

/// Changes a table that is at rest from `have` to `want`, but for its tags. Safeguards come on first and go off last; what
/// AWS may refuse for an hour comes at the very end.
pub(super) async fn carry_out(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    let protects = |on: bool| {
        let edit = move |it: UpdateTable| it.deletion_protection_enabled(on);
        alter(cx, id, UPDATE, edit, |live| live.deletion_protection.unwrap_or_default(), !on, on)
    };
    if want.deletion_protection == Some(true) && have.deletion_protection != Some(true) {
        protects(true).await?;
    }
    let kept = drop_indexes(cx, id, have, want).await?;
    change_capacity(cx, id, have, want, &kept).await?;
    make_indexes(cx, id, kept, want).await?;
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
        // Whatever key appears where there was none is the one that was asked for.
        let shown = |live: &Props| match &live.kms_key_arn {
            Some(_) if to.as_deref() == Some(MANAGED_KEY) => to.clone(),
            key => key.clone(),
        };
        alter(cx, id, ENCRYPTION, edit, shown, from, to.clone()).await?;
    }
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

/// Deletes the indexes that are not wanted, or not wanted as they are, one after the other; returns those that stay.
async fn drop_indexes(
    cx: &Context,
    id: &Id,
    have: &Props,
    want: &Props,
) -> Result<BTreeMap<String, GlobalIndex>, AwsError> {
    let mut kept = have.global_secondary_indexes.clone();
    for (name, index) in &have.global_secondary_indexes {
        let types = |props: &Props| index.keys().map(|key| props.attributes.get(key).cloned()).collect::<Vec<_>>();
        let stays = want.global_secondary_indexes.get(name).is_some_and(|it| it.is_like(index));
        if stays && types(have) == types(want) {
            continue;
        }
        let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(name).build().map_err(incomplete)?;
        let delete = GlobalSecondaryIndexUpdate::builder().delete(delete).build();
        let edit = |it: UpdateTable| it.global_secondary_index_updates(delete.clone());
        alter(cx, id, INDEX_GONE, edit, |live| live.global_secondary_indexes.contains_key(name), true, false).await?;
        kept.remove(name);
    }
    Ok(kept)
}

/// Changes how capacity is paid, and how much there is of it: the table and the indexes that it has in one call.
async fn change_capacity(
    cx: &Context,
    id: &Id,
    have: &Props,
    want: &Props,
    kept: &BTreeMap<String, GlobalIndex>,
) -> Result<(), AwsError> {
    let capacity = |props: &Props| (props.read_capacity, props.write_capacity);
    let mode = (have.billing_mode != want.billing_mode).then(|| BillingMode::from(want.billing_mode.as_str()));
    // Equal values are refused, unless the mode changes with them.
    let of_table = if mode.is_some() || capacity(have) != capacity(want) { throughput(capacity(want))? } else { None };
    let mut of_indexes = Vec::new();
    for (name, index) in kept {
        let Some(wanted) = want.global_secondary_indexes.get(name) else { continue };
        if let Some(throughput) = throughput(wanted.capacity())?
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
    let shown = |props: &Props| {
        let of_index = |name: &String| props.global_secondary_indexes.get(name).map(GlobalIndex::capacity);
        (props.billing_mode.clone(), capacity(props), kept.keys().map(of_index).collect::<Vec<_>>())
    };
    alter(cx, id, UPDATE, edit, shown, shown(have), shown(want)).await
}

/// Makes the indexes that are missing, one after the other, and waits until each is built.
async fn make_indexes(
    cx: &Context,
    id: &Id,
    mut standing: BTreeMap<String, GlobalIndex>,
    want: &Props,
) -> Result<(), AwsError> {
    for (name, index) in &want.global_secondary_indexes {
        if standing.contains_key(name) {
            continue;
        }
        standing.insert(name.clone(), index.clone());
        // Exactly those that the keys use by then: AWS refuses one too many.
        let definitions = definitions(&want.attributes, &want.key_attributes(&standing))?;
        let create = GlobalSecondaryIndexUpdate::builder().create(index.action(name)?).build();
        let edit = |request: UpdateTable| {
            let request = request.set_attribute_definitions(Some(definitions.clone()));
            request.global_secondary_index_updates(create.clone())
        };
        let shown = |live: &Props| live.global_secondary_indexes.contains_key(name);
        alter(cx, id, INDEX, edit, shown, false, true).await?;
    }
    Ok(())
}

/// The view type of a stream can't be changed: it is switched off, and a new stream is switched on.
async fn change_stream(cx: &Context, id: &Id, have: &Props, want: &Props) -> Result<(), AwsError> {
    if have.stream_view_type == want.stream_view_type {
        return Ok(());
    }
    let shown = |live: &Props| live.stream_view_type.clone();
    if have.stream_view_type.is_some() {
        let off = StreamSpecification::builder().stream_enabled(false).build().map_err(incomplete)?;
        let from = have.stream_view_type.clone();
        alter(cx, id, UPDATE, |it| it.stream_specification(off.clone()), shown, from, None).await?;
    }
    if let Some(on) = stream(want.stream_view_type.as_deref())? {
        let to = want.stream_view_type.clone();
        alter(cx, id, UPDATE, |it| it.stream_specification(on.clone()), shown, None, to).await?;
    }
    Ok(())
}

/// Switches point-in-time recovery as wanted, unless it is so already.
pub(super) async fn set_recovery(cx: &Context, id: &Id, want: Option<i32>) -> Result<(), AwsError> {
    // Who can't read the setting can still set it.
    let now = readable(cx.read(&id.name, || read_recovery(cx, &id.name)).await)?;
    if now == Some(want) {
        return Ok(());
    }
    // Switched on without a period, it has the default one.
    let period = want.filter(|days| now != Some(None) || *days != RECOVERY_PERIOD);
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(want.is_some());
    let recovery = recovery.set_recovery_period_in_days(period).build().map_err(incomplete)?;
    // For some seconds after the create AWS says that backups are not available yet.
    let send = || async {
        let request = cx.aws.dynamodb.update_continuous_backups().table_name(&id.name);
        let request = request.point_in_time_recovery_specification(recovery.clone());
        request.send().await.named("UpdateContinuousBackups", &id.name)
    };
    cx.send(BUSY, &id.name, send).await?;
    let shown = || async {
        let now = readable(read_recovery(cx, &id.name).await)?;
        Ok(now.is_none_or(|now| now.is_some() == want.is_some()).then_some(()))
    };
    cx.until(UPKEEP, &id.name, shown).await
}

/// Switches the time to live as wanted, unless it is so already. To move it, AWS wants it off first.
pub(super) async fn set_ttl(cx: &Context, id: &Id, want: Option<&str>) -> Result<(), AwsError> {
    // Who can't read the setting can still set it.
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
            match request.send().await.named("UpdateTimeToLive", &id.name) {
                Err(error) if error.class == Class::Unchanged => Ok(()),
                answer => answer.map(|_| ()),
            }
        };
        cx.send(BUSY, &id.name, send).await?;
        let shown = || async {
            let now = readable(read_ttl(cx, &id.name).await)?;
            Ok(now.is_none_or(|now| now.as_deref() == on.then_some(attribute)).then_some(()))
        };
        cx.until(UPKEEP, &id.name, shown).await?;
    }
    Ok(())
}

/// How often a table at rest may show what it was before a change that AWS took: some reads lag behind.
const LAGGING_LOOKS: u32 = 120;

/// Sends one UpdateTable, waiting out earlier changes, and then waits until the table is at rest and shows the change in
/// two reads in a row: one alone may come from a replica that is ahead of the others. `shown` is what it is about, which
/// goes `from` one value `to` another; any third is somebody else's, who must not be overwritten unseen.
async fn alter<V: PartialEq>(
    cx: &Context,
    id: &Id,
    wait: Wait,
    edit: impl Fn(UpdateTable) -> UpdateTable,
    shown: impl Fn(&Props) -> V,
    from: V,
    to: V,
) -> Result<(), AwsError> {
    let now = |table: &TableDescription| shown(&props(table, BTreeMap::new()));
    let changed = || AwsError::own(Class::Changed, "UpdateTable", &id.name, "somebody else changed it meanwhile");
    let send = || async {
        match edit(cx.aws.dynamodb.update_table().table_name(&id.name)).send().await.named("UpdateTable", &id.name) {
            // "It is so already" is fine, and so is an index that is gone: the reads that follow decide.
            Err(error) if matches!(error.class, Class::Unchanged | Class::NotFound) => Ok(()),
            answer => answer.map(|_| ()),
        }
    };
    // Sent again after a lost answer, the call finds its own work under way.
    let again = || async {
        let table = present(cx, id).await?;
        match () {
            () if !is_at_rest(&table) => {
                Err(AwsError::own(Class::Busy, "UpdateTable", &id.name, "a change of it is under way"))
            }
            () if now(&table) == to => Ok(Some(())),
            () if now(&table) == from => Ok(None),
            () => Err(changed()),
        }
    };
    cx.change(Wait { budget: wait.budget.max(BUSY.budget), ..BUSY }, &id.name, send, again).await?;
    let (seen, other, lagging) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let probe = || async {
        let table = present(cx, id).await?;
        let (now, at_rest) = (now(&table), is_at_rest(&table));
        // Looks of its sort in a row.
        let count = |counter: &AtomicU32, holds: bool| {
            let looks = if holds { counter.load(Ordering::Relaxed) + 1 } else { 0 };
            counter.store(looks, Ordering::Relaxed);
            looks
        };
        let settled = count(&seen, at_rest && now == to);
        if count(&other, at_rest && now != to && now != from) >= 2 {
            return Err(changed());
        }
        if count(&lagging, at_rest && now != to) >= LAGGING_LOOKS {
            let message = "AWS took the change, but the table goes on as it was";
            return Err(AwsError::own(Class::Differs, "UpdateTable", &id.name, message));
        }
        Ok((settled >= 2).then_some(()))
    };
    cx.until(wait, &id.name, probe).await
}

/// The table, which has to be there.
async fn present(cx: &Context, id: &Id) -> Result<TableDescription, AwsError> {
    let gone = || AwsError::own(Class::Changed, "UpdateTable", &id.name, "the table is gone");
    describe(cx, &id.name).await?.ok_or_else(gone)
}

fn is_at_rest(table: &TableDescription) -> bool {
    table.table_status() == Some(&TableStatus::Active) && under_way(table).is_none()
}

/// Waits until nothing of the table is on its way any more, and returns it as it is then. Only once it is ACTIVE does it
/// show what else is under way.
pub(super) async fn rest(cx: &Context, id: &Id) -> Result<TableDescription, AwsError> {
    let active = || async {
        let table = present(cx, id).await?;
        Ok((table.table_status() == Some(&TableStatus::Active)).then_some(table))
    };
    let table = cx.until(UPDATE, &id.name, active).await?;
    let Some((wait, _)) = under_way(&table) else { return Ok(table) };
    let at_rest = || async {
        let table = present(cx, id).await?;
        Ok(is_at_rest(&table).then_some(table))
    };
    cx.until(wait, &id.name, at_rest).await
}
