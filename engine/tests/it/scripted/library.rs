//! The library on a paused clock, for long waits and for kinds that misbehave, against the scripted
//! AWS in the same runtime.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use engine::apply::{self, StepOutcome};
use engine::aws::{Access, Aws, AwsError, CallContext, Code, Context, LocalSettings, Overrides};
use engine::inventory::Inventory;
use engine::kind::Want;
use engine::kinds::registry;
use engine::live::{self, OrphanSearch, ReadError};
use engine::plan::{self, Goal, Options};
use engine::schema::{AwsEnv, Contents, Id, Identity, Live, Outputs, Reading, Schema, Tagging, Text};
use engine::spec::{Depth, Spec, SpecOverrides};
use engine_aws::kind::{DynKind, Kind, erase};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::server::{Cloud, Fault};
use super::world::{self, ACCOUNT, REGION, Reply, World};
use super::{Project, TABLE, writes};

pub(super) fn load(path: &Path) -> Spec {
    Spec::load(&engine::kinds::all(), path, &SpecOverrides::default(), Depth::Full)
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub(super) fn context(cloud: &Cloud, access: Access) -> (Context, watch::Sender<bool>) {
    context_of(&registry(), cloud, access)
}

fn context_of(kinds: &[Arc<dyn DynKind>], cloud: &Cloud, access: Access) -> (Context, watch::Sender<bool>) {
    let settings = LocalSettings {
        endpoint_url: cloud.url.clone(),
        key: String::new(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    let aws = Aws::local(&settings, access);
    let (press, interrupt) = watch::channel(false);
    (engine_aws::kind::context(kinds, Arc::new(aws), Overrides::default(), interrupt), press)
}

pub(super) fn team() -> Access {
    Access::Team { team: "blue-owls".to_owned(), owns: BTreeSet::new(), assume_owner: false }
}

pub(super) async fn read(cx: &Context, spec: &mut Spec) -> Result<Inventory, Vec<ReadError>> {
    let inventory = live::read(cx, spec, Goal::Present, &Options::default(), OrphanSearch::Ignored, None).await?;
    for declared in &mut spec.resources {
        if let Some(live) = inventory.live(&declared.name) {
            declared.id = live::with_unique_id(declared, live);
        }
        declared.id.env = Some(inventory.env.clone());
    }
    Ok(inventory)
}

pub(super) async fn run(cx: &Context, spec: &mut Spec) -> Vec<StepOutcome> {
    let inventory = read(cx, spec).await.unwrap();
    let plan = plan::plan(spec, &inventory, Goal::Present, &Options::default());
    assert_eq!(plan.refusals().count(), 0);
    apply::apply(cx, spec, &inventory, &plan, 16, &mut |_| {}).await.endings
}

pub(super) fn failures(endings: &[StepOutcome]) -> Vec<&AwsError> {
    let failed = endings.iter().filter_map(|ending| match ending {
        StepOutcome::Failed(error) => Some(error),
        _ => None,
    });
    failed.collect()
}

/// A condition that never ends: the call, AWS's reply to it, the resulting cause and hint,
/// and the range of seconds after which engine gives up.
struct Endless {
    operation: &'static str,
    reply: Reply,
    cause: Code,
    seconds: std::ops::Range<u64>,
    hint: &'static str,
}

#[tokio::test(start_paused = true)]
async fn endless_refusals_and_waits_end_within_their_budget() {
    let busy = |text: &str| Reply::lambda(409, "ResourceConflictException", text);
    let creating = json!({ "Table": { "TableName": TABLE, "TableStatus": "CREATING" } });
    let pending = json!({ "Configuration": { "FunctionName": "blue-owls-logger", "State": "Pending" } });
    let cases = [
        Endless {
            operation: "CreateFunction",
            reply: world::not_assumable(),
            cause: Code::RoleNotAssumable,
            seconds: 55..65,
            hint: "lambda.amazonaws.com",
        },
        Endless {
            operation: "CreateEventSourceMapping",
            reply: world::stream_not_readable(),
            cause: Code::StreamNotReadable,
            seconds: 55..70,
            hint: "dynamodb:GetRecords",
        },
        Endless {
            operation: "AddPermission",
            reply: busy("The operation cannot be performed at this time. An update is in progress for resource: X"),
            cause: Code::Busy,
            seconds: 290..305,
            hint: "run the same command again",
        },
        Endless {
            operation: "CreateTable",
            reply: Reply::dynamodb("ThrottlingException", "Rate exceeded"),
            cause: Code::Throttled,
            seconds: 590..605,
            hint: "run the same command again",
        },
        Endless {
            operation: "DescribeTable",
            reply: Reply::ok(&creating),
            cause: Code::WaitOverdue,
            seconds: 599..605,
            hint: "to continue waiting",
        },
        Endless {
            operation: "GetFunction",
            reply: Reply::ok(&pending),
            cause: Code::WaitOverdue,
            seconds: 599..605,
            hint: "to continue waiting",
        },
    ];
    for case in cases {
        let Endless { operation, reply, cause, seconds, hint } = case;
        let cloud = Cloud::on_current_runtime(World::young()).await;
        let project = Project::usual();
        let mut spec = load(&project.path("specs/team.yaml"));
        let (cx, _press) = context(&cloud, team());
        // The plan makes the first read.
        let first = if matches!(operation, "DescribeTable" | "GetFunction") { 2 } else { 1 };
        cloud.fault(operation, first..usize::MAX, Fault::Answer(reply));
        let start = Instant::now();
        let endings = run(&cx, &mut spec).await;
        let took = start.elapsed().as_secs();
        let failed = failures(&endings);
        assert!(failed.len() == 1 && failed[0].is(cause), "{operation}: {endings:?}");
        assert!(seconds.contains(&took), "{operation} took {took} s");
        assert!(failed[0].hint().contains(hint), "{operation}: {:?}", failed[0].hint());
        assert!(cloud.count(operation) > 10, "{operation} was tried {} times", cloud.count(operation));
        assert!(
            endings.iter().any(|ending| matches!(ending, StepOutcome::Done(_))),
            "{operation}: other branches finish"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_is_given_up() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    for operation in super::reads() {
        cloud.always(operation, Fault::Silence);
    }
    let project = Project::usual();
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, Access::ReadOnly);
    let start = Instant::now();
    let errors = read(&cx, &mut spec).await.unwrap_err();
    assert_eq!(errors.iter().map(|it| it.error.cause).collect::<Vec<_>>(), [Code::NoAnswer]);
    assert!(start.elapsed() < Duration::from_secs(180), "took {:?}", start.elapsed());
    eprintln!("an endpoint that never answers: given up after {:?}", start.elapsed());
}

/// A kind that writes to another resource than the one it is asked to create.
struct MisbehavingKind(Misbehavior);

#[derive(Debug, Clone, Copy)]
enum Misbehavior {
    OtherTeamTable,
    UnseenTable,
    OtherTeamFunction,
    OtherTeamStatement,
    TaggedOtherTeam,
    UnknownMapping,
    ImportedRole,
    UnknownOperation,
}

impl Kind for MisbehavingKind {
    type Props = Json;

    fn schema(&self) -> Schema {
        Schema {
            kind: "table".into(),
            summary: "".into(),
            remark: "".into(),
            source: "".into(),
            identity: Identity::Named { text: Text::any(64) },
            managed: true,
            importable: false,
            adoptable: false,
            holds_data: false,
            delete_block: None,
            retained_on_delete: None,
            disruption: None,
            recreate_note: None,
            arn: None,
            tagging: Tagging::Inherited,
            properties: Vec::new(),
            outputs: Vec::new(),
        }
    }

    async fn read(&self, _: &Context, _: &Id) -> Result<Reading<Json>, AwsError> {
        Ok(None.into())
    }

    async fn contents(&self, _: &Context, _: &Id) -> Result<Contents, AwsError> {
        Ok(Contents::Empty)
    }

    async fn create(&self, cx: &Context, _: &Id, _: Want<Json>) -> Result<Outputs, AwsError> {
        let (dynamodb, lambda, iam) = cx.aws.clients();
        let foreign = world::function_arn("red-foxes-logger");
        match self.0 {
            Misbehavior::OtherTeamTable => {
                drop(dynamodb.delete_table().table_name("red-foxes-todos").send().await.context("DeleteTable", "")?);
            }
            Misbehavior::UnseenTable => {
                drop(
                    dynamodb
                        .delete_table()
                        .table_name("blue-owls-extra-todos")
                        .send()
                        .await
                        .context("DeleteTable", "")?,
                );
            }
            Misbehavior::OtherTeamFunction => {
                let request = lambda.update_function_configuration().function_name(&foreign).timeout(1);
                drop(request.send().await.context("UpdateFunctionConfiguration", "")?);
            }
            Misbehavior::OtherTeamStatement => {
                let request = lambda.remove_permission().function_name("blue-owls-logger").statement_id("red-foxes-x");
                drop(request.send().await.context("RemovePermission", "")?);
            }
            Misbehavior::TaggedOtherTeam => {
                let request = lambda.tag_resource().resource(&foreign).tags("engine:team", "blue-owls");
                drop(request.send().await.context("TagResource", "")?);
            }
            Misbehavior::UnknownMapping => {
                let request = lambda.delete_event_source_mapping().uuid("00000000-0000-4000-8000-000000000009");
                drop(request.send().await.context("DeleteEventSourceMapping", "")?);
            }
            Misbehavior::ImportedRole => {
                drop(iam.delete_role().role_name(world::ROLE).send().await.context("DeleteRole", "")?);
            }
            Misbehavior::UnknownOperation => {
                let request =
                    dynamodb.delete_backup().backup_arn("arn:aws:dynamodb:r:1:table/blue-owls-todos/backup/1");
                drop(request.send().await.context("DeleteBackup", "")?);
            }
        }
        Ok(Outputs::new())
    }

    async fn update(&self, _: &Context, _: &Id, _: Live<Json>, _: Want<Json>) -> Result<Outputs, AwsError> {
        unreachable!("nothing is there to be updated")
    }

    async fn wait_ready(&self, _: &Context, _: &Id, _: &Json, _: &[&str], _: &Outputs) -> Result<(), AwsError> {
        Ok(())
    }

    async fn delete(&self, _: &Context, _: &Id, _: Live<Json>) -> Result<(), AwsError> {
        unreachable!("nothing is there to be deleted")
    }
}

#[tokio::test]
async fn a_misbehaving_kind_is_stopped_before_any_request() {
    use Misbehavior::{
        ImportedRole, OtherTeamFunction, OtherTeamStatement, OtherTeamTable, TaggedOtherTeam, UnknownMapping,
        UnknownOperation, UnseenTable,
    };
    let cases = [
        (OtherTeamTable, "the name of the table `red-foxes-todos` doesn't start with the team's name `blue-owls`"),
        (UnseenTable, "no read in this run showed who owns the table `blue-owls-extra-todos`"),
        (
            OtherTeamFunction,
            "the name of the function `red-foxes-logger` doesn't start with the team's name `blue-owls`",
        ),
        (OtherTeamStatement, "the statement ID `red-foxes-x` doesn't start with the team's name `blue-owls`"),
        (TaggedOtherTeam, "the name of the function `red-foxes-logger` doesn't start with the team's name `blue-owls`"),
        (
            UnknownMapping,
            "no read in this run showed which function the mapping `00000000-0000-4000-8000-000000000009` is attached",
        ),
        (ImportedRole, "doesn't start with the team's name `blue-owls`"),
        (UnknownOperation, "an unknown request"),
    ];
    for (lie, words) in cases {
        let cloud = Cloud::on_current_runtime(World::empty()).await;
        let project = Project::usual();
        project.spec(
            "team: blue-owls\nresources:\n  todos:\n    type: table\n    attributes: { id: S }\n    hash_key: id\n    \
             billing_mode: PAY_PER_REQUEST\n",
        );
        let mut spec = load(&project.path("specs/team.yaml"));
        let liar = erase(MisbehavingKind(lie));
        spec.resources[0].kind = Arc::clone(&liar).definition();
        let (cx, _press) = context_of(&[liar], &cloud, team());
        let endings = run(&cx, &mut spec).await;
        let failed = failures(&endings);
        assert_eq!(failed.iter().map(|error| error.cause).collect::<Vec<_>>(), [Code::Guarded], "{lie:?}: {endings:?}");
        assert!(failed[0].message.contains(words), "{lie:?}: {}", failed[0].message);
        assert_eq!(writes(&cloud), [""; 0], "{lie:?}");
        assert_eq!(cloud.calls().len(), 1, "only STS was asked");
    }
}

#[tokio::test]
async fn steps_of_a_diff_can_never_write() {
    let cloud = Cloud::on_current_runtime(World::empty()).await;
    let project = Project::usual();
    let mut spec = load(&project.path("specs/team.yaml"));
    let (cx, _press) = context(&cloud, Access::ReadOnly);
    let endings = run(&cx, &mut spec).await;
    assert!(failures(&endings).iter().all(|error| error.is(Code::Guarded)), "{endings:?}");
    assert_eq!(failures(&endings).len(), 2, "table and function, the rest is skipped");
    assert_eq!(writes(&cloud), [""; 0]);
    assert_eq!(AwsEnv::new(REGION, ACCOUNT), spec.resources[0].id.env.clone().unwrap());
}
