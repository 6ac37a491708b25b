//! The catalogue of error codes: a stable code for each cause, with its meaning and the next step.
//!
//! Error messages, `engine explain CODE` and the list of codes all come from this catalogue.
//! Scripts depend on the codes, so a code is never renamed or reused.
//!
//! **Invariant:** texts only; `aws::error` decides which failure has which code.

/// The texts of a code. All except `more` are lower-case sentences without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogEntry {
    /// What happened.
    pub title: &'static str,
    /// Why it happens.
    pub why: &'static str,
    /// What to do next, with a command.
    pub next: &'static str,
    /// Background, in full sentences.
    pub more: &'static str,
    /// The properties that may cause it; the error points at the first one that the spec sets.
    pub blames: &'static [&'static str],
}

/// Codes and entries in one place, so that neither exists without the other.
macro_rules! catalogue {
    ($($code:ident $name:literal {
        title: $title:literal, why: $why:literal, next: $next:literal, more: $more:literal, blames: $blames:expr,
    })*) => {
        /// The cause of a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &[Code] = &[$(Code::$code),*];

            /// The stable name of the code.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }

            /// The texts of the code.
            pub const fn entry(self) -> CatalogEntry {
                match self {
                    $(Code::$code => CatalogEntry {
                        title: $title, why: $why, next: $next, more: $more, blames: &$blames,
                    },)*
                }
            }
        }
    };
}

impl Code {
    /// The code with that name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

catalogue! {
    RoleNotAssumable "role-not-assumable" {
        title: "Lambda can't assume the function's role",
        why: "the role's trust policy must allow the service `lambda.amazonaws.com` to assume it, and IAM changes \
              can take about a minute to propagate",
        next: "check the trust policy with `aws iam get-role --role-name ROLE`; it must allow `sts:AssumeRole` for \
               the service `lambda.amazonaws.com`; if it doesn't, ask the role's owner to fix it",
        more: "A role has two sides: its permissions policies define what it can do, and its trust policy defines \
               who can assume it. Lambda returns the same error whether the trust policy is wrong or hasn't \
               propagated yet, so engine reads the policy: it immediately reports one that can't work. For a correct \
               one, it waits up to a minute if the role is new or this run changed it. If Lambda keeps refusing a \
               correct policy, a service control policy of the organization may deny `sts:AssumeRole`.",
        blames: ["role", "function"],
    }
    RoleOfOtherAccount "role-of-other-account" {
        title: "the role belongs to another account",
        why: "a function can only use an execution role from its own account",
        next: "compare the account in the role's ARN with the one that `aws sts get-caller-identity` shows, and \
               import a role from that account",
        more: "A function that needs access to another account runs with a role from its own account and assumes the \
               other role in its code. Set `account:` in the spec so that engine detects credentials for the wrong \
               account before it makes any other call.",
        blames: ["role"],
    }
    RoleLacksRight "role-lacks-right" {
        title: "the function's role lacks a permission that Lambda checks",
        why: "Lambda accepts some settings only if the execution role has the permissions they require: to write \
              traces, to read a queue, or to send to a queue, topic or bucket",
        next: "ask the role's owner to add the permission that AWS names (`aws iam put-role-policy --role-name \
               ROLE`), then run the same command again",
        more: "`tracing: Active` requires xray:PutTraceSegments and xray:PutTelemetryRecords. A failure destination \
               requires sqs:SendMessage, sns:Publish or s3:PutObject on that destination. A mapping of a queue \
               requires sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on it. IAM changes can take \
               about a minute to propagate; engine waits for that if the role is new or this run changed it.",
        blames: ["tracing", "dead_letter_target_arn", "on_failure_destination_arn", "async", "event_source_arn", "role"],
    }
    StreamNotReadable "stream-not-readable" {
        title: "the function's role lacks permission to read the stream",
        why: "Lambda polls the stream with the function's execution role; a permission on the function has no effect \
              on that",
        next: "the role needs dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator and \
               dynamodb:ListStreams on the stream; ask its owner to attach the managed policy \
               AWSLambdaDynamoDBExecutionRole (`aws iam attach-role-policy --role-name ROLE --policy-arn \
               arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole`)",
        more: "A statement for `dynamodb.amazonaws.com` in the function's policy doesn't help: DynamoDB never \
               invokes a function; Lambda polls the stream. See `engine explain permission` for details. A stream \
               that is encrypted with a customer managed key also requires kms:Decrypt on that key. IAM changes can \
               take about a minute to propagate; engine waits for that if the role is new or this run changed it.",
        blames: ["event_source_arn"],
    }
    StreamUnknown "stream-unknown" {
        title: "Lambda can't find the stream or queue",
        why: "enabling a stream always gives it a new ARN, so a copied ARN may belong to an earlier stream, or to a \
              deleted table, queue or Kinesis stream",
        next: "use `${TABLE.stream_arn}`, which is always the current stream of a table in the spec, or `${QUEUE.arn}`, \
               and run `engine diff`; `aws dynamodbstreams list-streams`, `aws sqs list-queues` and `aws kinesis \
               list-streams` list what exists",
        more: "The timestamp in a stream's ARN is the time at which it was enabled. DynamoDB keeps returning the ARN \
               for a while after the stream is disabled. Lambda may need a few seconds to recognize a newly enabled \
               stream, and engine waits for that.",
        blames: ["event_source_arn"],
    }
    VisibilityTimeoutShort "visibility-timeout-short" {
        title: "the queue's visibility timeout is below the function's timeout",
        why: "SQS would deliver a message again while the function still processes it, so Lambda refuses such a mapping",
        next: "set `visibility_timeout_seconds` of the queue to at least six times the function's `timeout`, and run \
               `engine apply` again",
        more: "Changes to a queue can take up to 60 seconds to propagate, so Lambda may still see the old value right \
               after a change; then running the same command again is enough. AWS recommends six times the function's \
               timeout plus the batching window, so that Lambda can retry a throttled batch.",
        blames: ["event_source_arn"],
    }
    KmsKeyNotUsable "kms-key-not-usable" {
        title: "the encryption key can't be used",
        why: "the key is disabled, deleted or in another region, or its key policy doesn't let your credentials use \
              it",
        next: "check it with `aws kms describe-key --key-id KEY`: it must be enabled, and its key policy must let \
               your credentials create grants (kms:CreateGrant); if not, ask the key's owner",
        more: "To encrypt a function's environment variables or a table, Lambda and DynamoDB create a grant on the \
               key with your credentials. The key must be symmetric and in the same region. If a role was deleted \
               and re-created under the same name, its grant no longer works: switch to another role and back \
               to renew it.",
        blames: ["kms_key_arn", "environment"],
    }
    LookupUnusable "lookup-unusable" {
        title: "the value of a lookup can't be used",
        why: "the value exists, but not in a form that a spec can use",
        next: "correct the value in AWS or the lookup in the spec, and run `engine diff` again",
        more: "A lookup reads text. A secret must be text (SecretString), and with `key:` a JSON object that has that \
               key with text, a number or a boolean. Outputs of a CloudFormation stack are used only when the stack's \
               last change is complete. `engine diff --no-lookups` plans without reading them.",
        blames: [],
    }
    PrincipalUnknown "principal-unknown" {
        title: "AWS doesn't recognize this principal",
        why: "a policy can only name an AWS service that exists, or a user or role that exists at the time of the \
              call",
        next: "check the ARN or the service name; a user or role must exist when the permission is added (check with \
               `aws iam get-role --role-name NAME`); then run `engine apply` again",
        more: "Use a service name like `dynamodb.amazonaws.com`, or the 12 digits of an account. AWS replaces a user \
               or role in a policy with its unique ID, so the user or role must exist. If it was created seconds ago, \
               engine waits until AWS recognizes it.",
        blames: ["principal"],
    }
    AccessDenied "access-denied" {
        title: "AWS denied this call",
        why: "no policy allows your credentials to make this call",
        next: "ask the account's administrator for the permission that AWS names; `aws sts get-caller-identity` \
               shows which identity made the call",
        more: "AWS's message names the identity, the action and the resource. Assigning a role to a function requires \
               `iam:PassRole` on that role, and setting tags on create requires the tagging action too. `engine \
               diff` needs only read permissions. `engine policy` prints the least-privilege policy for a spec.",
        blames: [],
    }
    ExplicitDeny "explicit-deny" {
        title: "a policy explicitly denies this call",
        why: "a `Deny` statement matches, and it overrides every statement that allows the call",
        next: "ask the administrator of the account or organization to change the policy that AWS names, because \
               more permissions won't help; `aws sts get-caller-identity` shows which identity made the call",
        more: "The deny may come from a service control policy of the organization, a permissions boundary, a \
               session policy or a resource-based policy. Such policies often restrict regions, require certain tags \
               or forbid a service in an account.",
        blames: [],
    }
    NoCredentials "no-credentials" {
        title: "no AWS credentials found",
        why: "none of the sources in the AWS credential provider chain has credentials",
        next: "run `aws configure` or `aws sso login`, or add `--local` to run without an account; sources \
               checked: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile from AWS_PROFILE or `--profile` in \
               ~/.aws/config and ~/.aws/credentials (including SSO and credential_process), a web identity token, \
               container and instance roles",
        more: "engine uses the same credential provider chain as the AWS CLI: if `aws sts get-caller-identity` \
               works, so does engine. `engine apply --local` needs no credentials, because it runs against a local \
               AWS on this machine.",
        blames: [],
    }
    CredentialsExpired "credentials-expired" {
        title: "the AWS credentials have expired",
        why: "temporary credentials expire after minutes or hours, possibly in the middle of a run",
        next: "get new credentials (`aws sso login`) and run the same command again; if they fail too, check the \
               profile name and this machine's clock",
        more: "Completed changes are kept, and the next run continues from there. Credentials from an SSO or role \
               profile are refreshed automatically while the sign-in session is valid; keys copied into the \
               environment are not.",
        blames: [],
    }
    CredentialsRefused "credentials-refused" {
        title: "AWS rejected the credentials",
        why: "the keys are wrong, deleted or from another AWS partition or endpoint",
        next: "get new credentials (`aws sso login`, or new keys) and run the same command again; if they fail too, \
               check the profile name, the region and this machine's clock; `aws sts get-caller-identity` shows \
               whether they work",
        more: "Temporary credentials have three parts, and a missing or mismatched session token makes them invalid. \
               A region that must be enabled first, like `eu-south-1`, returns the same error until it is enabled. \
               Keys in the environment take precedence over a profile, unless you pass `--profile`.",
        blames: [],
    }
    CredentialsNotFetched "credentials-not-fetched" {
        title: "failed to get AWS credentials",
        why: "the credential source in the AWS settings returned no credentials",
        next: "run `aws sts get-caller-identity` to see whether other tools get credentials; fix the profile in \
               ~/.aws/config, or use another one with `--profile`",
        more: "A profile can get its credentials from a command (`credential_process`), a role (`role_arn`), a token \
               file (`web_identity_token_file`) or SSO. engine queries that source once, before its first call. The \
               output of a command is never shown, because it may contain the keys.",
        blames: [],
    }
    ProfileUnknown "profile-unknown" {
        title: "AWS profile not found",
        why: "`--profile` or AWS_PROFILE names a profile that is not in the AWS settings",
        next: "list the profiles with `aws configure list-profiles`, and use one of them with `--profile`",
        more: "Profiles are defined in ~/.aws/config as `[profile NAME]` and in ~/.aws/credentials as `[NAME]`; \
               AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE set other paths. Without `--profile` and AWS_PROFILE, \
               engine uses the profile `default`.",
        blames: [],
    }
    MfaRequired "mfa-required" {
        title: "the AWS profile requires an MFA code",
        why: "a profile with `mfa_serial` gets its role's credentials only with a code from your MFA device, and \
              engine doesn't prompt for one",
        next: "run `aws configure export-credentials --profile NAME --format env`, which prompts for the code and \
               prints temporary credentials; set them with \
               `eval \"$(…)\"`, then run the same command again without `--profile`",
        more: "The session lasts one hour by default. Tools that act as a `credential_process` (aws-vault, granted) \
               prompt for the code themselves, and SSO needs none.",
        blames: [],
    }
    SettingMalformed "setting-malformed" {
        title: "an AWS setting contains a character that can't be sent",
        why: "keys, tokens, regions and endpoints become part of HTTP headers, which can't contain line breaks, \
              control characters or non-ASCII characters",
        next: "set the value again without that character (`aws configure` prompts for the keys), then run the same \
               command again",
        more: "A key copied from a file or a web page often ends with a line break. The value itself is never shown. \
               Environment variables take precedence over a profile, unless you pass `--profile`.",
        blames: [],
    }
    CaBundleUnusable "ca-bundle-unusable" {
        title: "the CA bundle can't be used",
        why: "AWS_CA_BUNDLE or the profile's `ca_bundle` names a file that can't be read or is not a bundle of PEM \
              certificates",
        next: "correct the path or the file, or remove the setting to trust the system's certificates; `engine \
               doctor` shows whether AWS can be reached",
        more: "As in other AWS tools, the bundle replaces the system's certificates. Behind a proxy that inspects \
               TLS, it must contain the proxy's certificate. The environment variable takes precedence over the \
               profile.",
        blames: [],
    }
    ClockWrong "clock-wrong" {
        title: "this machine's clock is wrong",
        why: "AWS rejects requests whose timestamp is more than a few minutes off",
        next: "synchronize the clock (`timedatectl set-ntp true` on Linux), then run `engine diff` again",
        more: "Every request is signed with a timestamp to prevent replay attacks. The clocks of virtual machines and \
               containers fall behind while they are suspended; restart them or synchronize with a time server.",
        blames: [],
    }
    OtherRegion "other-region" {
        title: "a resource is in another region",
        why: "an ARN in the spec is in a different region than `region:`, and AWS requires both to be the same",
        next: "compare the region in the spec's ARNs with `region:`; `engine diff` shows the current region in its \
               first line",
        more: "A mapping, its function and its stream must be in the same region. References like `${logger.arn}` \
               always use the spec's region, so the usual cause is a copied ARN. `--region` overrides `region:` in \
               the spec.",
        blames: ["function", "event_source_arn", "layers", "role"],
    }
    OtherAccount "other-account" {
        title: "the credentials are for a different account than the spec",
        why: "`account:` sets the only account that the spec can be deployed to, so engine stopped before reading or \
              changing anything",
        next: "use credentials for the spec's account (`--profile NAME`; `aws sts get-caller-identity` shows the \
               current account), or correct `account:`",
        more: "`account:` keeps a forgotten AWS_PROFILE from deploying to the wrong account. Keys in \
               the environment take precedence over AWS_PROFILE, but not over `--profile`.",
        blames: [],
    }
    RegionNotUsable "region-not-usable" {
        title: "the region or endpoint is missing or invalid",
        why: "the address of each service is derived from the region, unless an endpoint is set",
        next: "set `region:` in the spec or AWS_REGION, or pass `--region`; then run `engine diff` again",
        more: "engine uses the first region that is set: `--region`, `region:` in the spec, AWS_REGION, \
               AWS_DEFAULT_REGION, the profile's region. Set it in the spec to deploy to the same region on every \
               machine.",
        blames: [],
    }
    ServiceNotEnabled "service-not-enabled" {
        title: "this service isn't enabled for the account",
        why: "the account's sign-up isn't complete, or the service or region must be enabled first",
        next: "check the account in the AWS console, or ask its administrator; `aws account list-regions` shows \
               which regions are enabled",
        more: "A new account can use most services within minutes after its payment method is verified; this can \
               take up to a day. Regions introduced after March 2019 must be enabled by the account's administrator.",
        blames: [],
    }
    NoAnswer "no-answer" {
        title: "no response from AWS",
        why: "a problem with the network, a proxy or the endpoint keeps requests from reaching AWS, or responses \
              from coming back",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL, proxy \
               variables), then run the same command again; `engine doctor` checks the connection to AWS",
        more: "Every command reads the current state first, so running it again never creates a resource twice. A \
               region that doesn't exist has no address and looks like a network failure. Once a run has reached \
               AWS, engine waits up to ten minutes for the connection to come back.",
        blames: [],
    }
    OutOfReach "out-of-reach" {
        title: "lost the connection to AWS",
        why: "engine waits out network outages during a run, but this one lasted too long",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL, proxy \
               variables), then run the same command again; `engine doctor` checks the connection to AWS",
        more: "Completed changes are kept. The next run reads everything again, continues where this one stopped, \
               and finds anything that a call created before its response was lost.",
        blames: [],
    }
    NotAws "not-aws" {
        title: "the response is not from AWS",
        why: "something else answered: a proxy, a sign-in page or another server at that address",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL and \
               proxy variables), then run the same command again; `engine doctor` checks the connection to AWS",
        more: "Hotel and company networks often return a sign-in page until you sign in. engine can't know whether \
               AWS received such a request, so the next run reads the current state first.",
        blames: [],
    }
    AwsFault "aws-fault" {
        title: "AWS returned a server error",
        why: "the service failed to process the request (HTTP 5xx)",
        next: "run the same command again in a minute; `engine doctor` shows which services respond",
        more: "engine retries server errors a few times before it fails. If the error persists, check \
               https://health.aws.amazon.com and keep the request ID for AWS Support. A request that the service \
               can't handle, like a key of the wrong type for a table, may fail this way every time.",
        blames: [],
    }
    Throttled "throttled" {
        title: "AWS is throttling requests",
        why: "all clients in the account share AWS's rate limits, and many calls are being made right now",
        next: "run the same command again in a minute; completed changes are kept, and `engine diff` shows what is \
               left",
        more: "Lambda allows 15 control-plane calls per second for the whole account. engine slows down \
               automatically and gives up after ten minutes. To reduce the load, deploy several teams with one \
               command, which shares one rate limit, instead of running many commands in parallel.",
        blames: [],
    }
    Busy "busy" {
        title: "AWS is still busy with an earlier change",
        why: "a table or function allows only one change at a time, and the previous one hasn't finished",
        next: "run the same command again in a minute; completed changes are kept, and `engine diff` shows what is \
               left",
        more: "engine waits several minutes for each such change. Building an index or changing the billing mode for \
               the first time can take longer on a large table. Something else, like autoscaling, may also change \
               the same resource repeatedly.",
        blames: [],
    }
    BeingDeleted "being-deleted" {
        title: "a resource with this name is still being deleted",
        why: "the name becomes available only after AWS has finished the deletion",
        next: "run the same command again in a minute; `engine diff` shows whether it still exists",
        more: "Deleting a large table takes minutes, and a resource can't be changed while it is being deleted. If \
               engine didn't start the deletion, another user or tool did.",
        blames: ["name"],
    }
    WaitOverdue "wait-overdue" {
        title: "timed out waiting for AWS",
        why: "AWS accepted the change but didn't finish it in the expected time",
        next: "check the resource in the AWS console or with `engine diff`; run the same command again to continue \
               waiting",
        more: "Nothing is lost: AWS continues the change. The time during which this machine slept or had no network \
               doesn't count. If the change takes longer than an hour, contact AWS Support.",
        blames: [],
    }
    NameTaken "name-taken" {
        title: "the name is already taken",
        why: "a resource with this name exists now, but didn't when the plan was made",
        next: "run `engine diff` to see who owns it and what would change, or set another `name:`",
        more: "Names of tables and functions are unique per account and region. `engine apply` can adopt a resource \
               without owner tags after you confirm; it never changes one that belongs to another team or tool.",
        blames: ["name", "statement_id"],
    }
    NotFound "not-found" {
        title: "the resource doesn't exist in AWS",
        why: "the resource, or one that it refers to, doesn't exist or was deleted",
        next: "run `engine diff` to see what exists in this account and region, then `engine apply` again",
        more: "A wrong region or account looks like a deleted resource; the first line of `engine diff` shows both. \
               AWS is eventually consistent, so engine waits for the resources that it has just created.",
        blames: [],
    }
    ChangedMeanwhile "changed-meanwhile" {
        title: "the resource changed since the plan was made",
        why: "engine changes only resources that still match the plan, so nothing was overwritten",
        next: "run `engine diff` to see what changed, then apply again",
        more: "Each step reads the resource again right before it writes. If two runs apply the same spec at the \
               same time, either both succeed or one reports what the other changed. If this happens every time, \
               another tool manages the same resource: list the property in `ignore_changes` to leave it to that \
               tool.",
        blames: [],
    }
    TableNotEmpty "table-not-empty" {
        title: "the table is not empty",
        why: "deleting it would permanently delete its items",
        next: "keep it, or pass `--delete-data` to delete its items too: `engine destroy --delete-data`",
        more: "engine checks for items again right before it deletes a table, so they may have been written after the \
               plan was made. To back up a table first, run `aws dynamodb create-backup`; to keep the table, set \
               `retain: true` in the spec.",
        blames: [],
    }
    QueueNotEmpty "queue-not-empty" {
        title: "the queue is not empty",
        why: "deleting the queue would permanently delete its messages",
        next: "keep the queue, or pass `--delete-data` to delete its messages too: `engine destroy --delete-data`",
        more: "engine counts messages again right before it deletes the queue, including those in flight and delayed \
               ones, so they may have been sent after the plan was made. SQS's counts are approximate and can be a \
               minute old. To keep the queue, set `retain: true` in the spec.",
        blames: [],
    }
    DeletionProtected "deletion-protected" {
        title: "deletion protection is enabled",
        why: "AWS deletes the table or log group only after deletion protection is disabled",
        next: "for a table, set `deletion_protection: false` in the spec, run `engine apply`, then delete it",
        more: "Deletion protection applies regardless of permissions. Removing the line from the spec doesn't \
               disable it; only `false` does.",
        blames: ["deletion_protection"],
    }
    RoleInUse "role-in-use" {
        title: "the role is still in use",
        why: "deleting the role would break what runs with it",
        next: "let what uses it use another role, then run `engine apply` or `engine destroy` again; to keep the role, set `retain: true`",
        more: "Before engine deletes a role, it reads the instance profiles that contain it, and the roles of all \
               functions in the region, while planning and again right before it deletes the role. Other uses, like \
               state machines and schedules, it can't see.",
        blames: [],
    }
    NothingToChange "nothing-to-change" {
        title: "the resource is already up to date",
        why: "another client just made the same change, so AWS had nothing to do",
        next: "run `engine diff` to see whether anything is left to change",
        more: "engine treats this response as success where it can. Otherwise, the next run reads the resource and \
               plans from its current state.",
        blames: [],
    }
    TtlTooSoon "ttl-too-soon" {
        title: "TTL was changed less than an hour ago",
        why: "AWS allows one change to a table's time to live (TTL) per hour",
        next: "run `engine apply` again in an hour; completed changes are kept",
        more: "Moving TTL to another attribute takes two changes, disable and enable, at least an hour apart. \
               Everything else about the table can change in the meantime.",
        blames: ["ttl_attribute"],
    }
    ChangedTooOften "changed-too-often" {
        title: "AWS limits how often this setting can change",
        why: "provisioned capacity can be decreased only a few times a day, encryption can change a few times a day, \
              and the table class can change twice in 30 days",
        next: "run `engine apply` again when the limit allows it; completed changes are kept",
        more: "Capacity can be decreased four times at any time during a UTC day, and after that once per hour. It \
               can be increased at any time. No quota increase changes these limits.",
        blames: ["read_capacity", "write_capacity", "table_class", "kms_key_arn"],
    }
    TableQuota "table-quota" {
        title: "the account reached its limit for tables",
        why: "the number of tables and the total provisioned capacity per account and region are limited, for all \
              teams together",
        next: "check the capacity limits with `aws dynamodb describe-limits` and the owners with `engine list \
               --all-teams`; delete unused tables, or ask the account's administrator to request a quota increase",
        more: "The default quota is 2,500 tables per region. Tables with `billing_mode: PAY_PER_REQUEST` don't count \
               against the account's provisioned capacity. Creating too many tables at once causes the same \
               error; in that case, run the command again.",
        blames: [],
    }
    IndexQuota "index-quota" {
        title: "the table has too many indexes",
        why: "a table can have 20 global and 5 local secondary indexes, with a limited number of projected \
              attributes in total",
        next: "remove unused indexes from the spec and check with `engine diff`, or ask the account's administrator \
               to raise the quota for global indexes",
        more: "One index can often serve several queries if its keys combine several values. Local secondary indexes \
               can only be defined when the table is created.",
        blames: ["global_secondary_indexes", "local_secondary_indexes"],
    }
    ConcurrencyQuota "concurrency-quota" {
        title: "the account doesn't have enough unreserved concurrency",
        why: "concurrency reserved for one function is unavailable to all others, and AWS keeps some of it \
              unreserved",
        next: "lower `reserved_concurrent_executions`, or ask the account's administrator to request a quota \
               increase (`aws lambda get-account-settings` shows the limit)",
        more: "AWS keeps 100 concurrent executions unreserved. A new account may have only 10 in total, so it can't \
               reserve any. Most functions don't need reserved concurrency: remove the property.",
        blames: ["reserved_concurrent_executions"],
    }
    QuotaReached "quota-reached" {
        title: "the account reached a service quota",
        why: "AWS limits the number of these resources per account, for all teams together",
        next: "delete unused resources (`engine list --all-teams` shows the owners), or ask the account's \
               administrator to request a quota increase",
        more: "`aws service-quotas list-service-quotas --service-code lambda` lists the quotas and whether they can \
               be increased. AWS's message names the quota.",
        blames: [],
    }
    CodeStorageFull "code-storage-full" {
        title: "the account's code storage is full",
        why: "all functions in an account and region share the storage for their code",
        next: "delete unused functions or versions (`aws lambda get-account-settings` shows the usage), or ask the \
               account's administrator to request a quota increase",
        more: "The default quota is 75 GB per region, and each published version counts. engine doesn't publish \
               versions.",
        blames: ["code"],
    }
    CodeTooLarge "code-too-large" {
        title: "the function's code is too large",
        why: "a zip uploaded directly can be at most 50 MB, and code and layers together at most 250 MB unzipped",
        next: "exclude files that the function doesn't need with `code.exclude`, then check the size with `engine \
               diff`",
        more: "The usual causes are tests, documentation and development dependencies. Bundling JavaScript into one \
               file makes it much smaller, and Lambda's Node.js and Python runtimes already include the AWS SDK.",
        blames: ["code", "layers"],
    }
    CodeUnreadable "code-unreadable" {
        title: "Lambda can't unzip the function's code",
        why: "Lambda received a zip that it can't read",
        next: "run `engine apply` again; if the error persists, report it with the list of files in `code:`",
        more: "engine creates the zip from the folder or file in `code:`. A file name that is invalid on some \
               systems, or a proxy that modifies uploads, can cause this error.",
        blames: ["code"],
    }
    CodeObjectNotUsable "code-object-not-usable" {
        title: "Lambda can't read the function's code in S3",
        why: "the bucket, the object or this version of it doesn't exist, the bucket is in another region, or your \
              credentials can't read it",
        next: "check it with `aws s3api head-object --bucket BUCKET --key KEY`, then correct `code.s3`",
        more: "Lambda copies the archive with your credentials, which need s3:GetObject, and s3:GetObjectVersion for \
               a version; `engine policy` prints them. The bucket must be in the function's region.",
        blames: ["code"],
    }
    ImageNotUsable "image-not-usable" {
        title: "Lambda can't use the function's container image",
        why: "the image doesn't exist, its repository is in another region, or Lambda lacks permission to pull it",
        next: "check the URI with `aws ecr describe-images --repository-name NAME`, then correct `code.image`",
        more: "The repository must be in the function's region. Lambda adds the permission to pull the image to the \
               repository's policy if your credentials have ecr:GetRepositoryPolicy and ecr:SetRepositoryPolicy; a \
               repository of another account needs a policy that allows it. The image must be built for the \
               function's architecture.",
        blames: ["code"],
    }
    CodeNotSigned "code-not-signed" {
        title: "the function's code doesn't have the required signature",
        why: "its code signing configuration doesn't exist, or rejects the archive: it isn't signed, or not by an \
              allowed profile",
        next: "check the profiles that it allows with `aws lambda get-code-signing-config \
               --code-signing-config-arn ARN`, then set `code.s3` to the archive that AWS Signer signed",
        more: "AWS Signer writes the signed archive to another key. Only code in S3 can be signed. A configuration \
               with the policy `Warn` accepts code without a valid signature. Layers must be signed, too.",
        blames: ["code_signing_config_arn", "code"],
    }
    EnvironmentTooLarge "environment-too-large" {
        title: "the function's environment variables are too large",
        why: "the names and values of all environment variables of a function can be at most 4 KB in total",
        next: "move large values into the code or a parameter store, then check with `engine diff`",
        more: "AWS measures the JSON form, so quotes and line breaks count too. Put certificates and configuration \
               into a file next to the code, and secrets into Secrets Manager or Parameter Store, with only their \
               name in the variable. The values are never shown, here or anywhere else.",
        blames: ["environment"],
    }
    RuntimeNotSupported "runtime-not-supported" {
        title: "Lambda doesn't support the runtime",
        why: "Lambda doesn't create or update functions with a runtime that is deprecated or not available in this \
              region",
        next: "use a newer `runtime` (`engine explain function.runtime` lists them), and test the code with it: \
               `engine apply --local`",
        more: "AWS deprecates a runtime in phases: it stops security updates, then blocks function creation, and \
               later blocks function updates. Existing functions keep running. For the dates, see \
               https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html.",
        blames: ["runtime"],
    }
    HandlerInvalid "handler-invalid" {
        title: "Lambda rejected the handler",
        why: "a handler names a file and an export, without spaces, in at most 128 characters",
        next: "write it like `index.handler`; see `engine explain function.handler` for the format",
        more: "`index.handler` is the export `handler` of `index.js`, `index.mjs` or `index.cjs`. Where engine can \
               read the code, it checks that the file has this export before it sends anything.",
        blames: ["handler"],
    }
    MemoryNotAllowed "memory-not-allowed" {
        title: "the account doesn't allow a function this much memory",
        why: "Lambda offers up to 10,240 MB per function, but this account's limit is lower",
        next: "lower `memory_size`, or ask the account's administrator to request an increase from AWS Support; see \
               `engine explain function.memory_size` for its range",
        more: "New accounts often have a limit of 3,008 MB. CPU power grows with memory: a function has one full \
               vCPU at 1,769 MB.",
        blames: ["memory_size"],
    }
    LayerNotUsable "layer-not-usable" {
        title: "a layer can't be used",
        why: "this layer version doesn't exist in this region, or it isn't shared with this account",
        next: "check the ARN with `aws lambda get-layer-version-by-arn --arn ARN`; it must end with a version number",
        more: "A layer belongs to one region, and its publisher can delete versions. The owner of a layer in another \
               account must share each version with your account.",
        blames: ["layers"],
    }
    NetworkNotUsable "network-not-usable" {
        title: "a subnet or a security group can't be used",
        why: "it doesn't exist in this region and account, or your credentials can't describe it",
        next: "check the IDs with `aws ec2 describe-subnets` and `aws ec2 describe-security-groups`",
        more: "All subnets and security groups of a function must be of one VPC. Lambda checks them with your \
               credentials, which need ec2:DescribeSubnets, ec2:DescribeSecurityGroups and ec2:DescribeVpcs; \
               `engine policy` prints them.",
        blames: ["vpc"],
    }
    PolicyTooLarge "policy-too-large" {
        title: "the function's resource-based policy is too large",
        why: "a function's resource-based policy can be at most 20 KB, including the statements of all teams and \
              tools",
        next: "check it with `aws lambda get-policy --function-name NAME`, then remove unused statements or combine \
               several into one",
        more: "A mapping on a stream needs no statement: Lambda reads the stream with the function's execution role. \
               One statement with `source_account` can replace many with `source_arn`.",
        blames: ["principal"],
    }
    FilterInvalid "filter-invalid" {
        title: "Lambda rejected a filter",
        why: "a pattern isn't a JSON object with lists of values, names a field that records don't have, or is too \
              long",
        next: "correct `filters`; see `engine explain mapping.filters` for the format",
        more: "A pattern looks like `{ eventName: [INSERT] }`. Under `dynamodb`, use DynamoDB's JSON format: `{ \
               dynamodb: { NewImage: { done: { BOOL: [true] } } } }`. A mapping can have five patterns of at most \
               4,096 characters each, or ten after a quota increase. See \
               https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html.",
        blames: ["filters"],
    }
    FunctionReplicated "function-replicated" {
        title: "CloudFront still has replicas of the function",
        why: "Lambda can't delete the function until its replicas are deleted, which takes hours after it is removed \
              from the distribution",
        next: "remove the function from every distribution, and run the same command again a few hours later: \
               `engine destroy`",
        more: "Lambda@Edge replicates the functions of a distribution to many regions. The deletion of replicas \
               can't be sped up, and the function costs nothing in the meantime.",
        blames: [],
    }
    FunctionFailed "function-failed" {
        title: "Lambda failed to set up the function",
        why: "Lambda accepted the request but failed while it prepared the function",
        next: "fix the problem that Lambda reports, then run `engine apply` again; `aws lambda get-function \
               --function-name NAME` shows the current state",
        more: "The usual causes are the execution role, the encryption key, a network setting or an account quota. \
               If an update fails, the function keeps running with its previous code and configuration.",
        blames: [],
    }
    MappingDisabled "mapping-disabled" {
        title: "the mapping is disabled",
        why: "the spec sets `enabled: false`, or the mapping was disabled outside of engine; Lambda doesn't read the \
              stream in the meantime",
        next: "run `engine apply`, which enables it unless the spec sets `enabled: false`, then `engine verify`",
        more: "While a mapping is disabled, new records stay in the stream for 24 hours, and Lambda reads them when \
               it is enabled again. AWS disables a mapping automatically if its stream or function no longer exists.",
        blames: ["enabled"],
    }
    RecordsFiltered "records-filtered" {
        title: "the mapping's filters drop the records",
        why: "Lambda invokes the function only for records that match at least one filter",
        next: "change `filters` in the spec, check them with `engine validate`, then run `engine apply` and `engine \
               verify`",
        more: "A pattern matches fields of a record, like `eventName: [INSERT]` or `dynamodb: { NewImage: { done: { \
               BOOL: [true] } } }`. A filter can't match what the stream's view type leaves out.",
        blames: ["filters"],
    }
    FunctionFails "function-fails" {
        title: "the function fails",
        why: "the code threw an error, ran out of time or memory, or couldn't be loaded",
        next: "fix the code and deploy it with `engine apply`; `engine logs --follow` shows each error with its \
               stack trace",
        more: "Lambda retries a failed batch until it succeeds or its records expire after 24 hours, and the rest of \
               the shard waits. To limit that, set `maximum_retry_attempts`, `bisect_batch_on_function_error` or \
               `report_batch_item_failures` on the mapping.",
        blames: ["code"],
    }
    NotLogged "not-logged" {
        title: "the function was invoked, but its log doesn't show the item",
        why: "the code doesn't log the item, or fails before it does",
        next: "log the whole record, for example with `console.log(JSON.stringify(record))`; `engine logs --raw` \
               shows what the function logs",
        more: "`engine verify` looks for the item's key and the word INSERT, MODIFY or REMOVE, or a synonym. A log \
               line without both may belong to another record.",
        blames: ["code"],
    }
    NotInvoked "not-invoked" {
        title: "the function was not invoked",
        why: "the mapping hasn't read the record yet, or can't read it",
        next: "run `engine verify --timeout 10m` again; `engine preflight` shows whether the role lacks permissions",
        more: "A new mapping can take minutes before it starts to read its stream. The function's execution role \
               needs permission to read the stream, because Lambda polls it with that role.",
        blames: [],
    }
    NotAsAsked "not-as-asked" {
        title: "AWS accepted the change but shows a different value",
        why: "another client may have changed it, or AWS silently ignored the change",
        next: "run `engine diff` to see what differs, then `engine apply` again",
        more: "engine never trusts the response to a change: it reads the resource again, several times if \
               necessary. If the value keeps changing, another tool, like autoscaling, may manage the property: add \
               it to `ignore_changes`.",
        blames: [],
    }
    InvalidValue "invalid-value" {
        title: "AWS rejected a value",
        why: "a value is out of range, refers to something unsuitable, or conflicts with another one",
        next: "correct the spec according to AWS's message; `engine explain TYPE` lists the values of each property, \
               and `engine diff` shows what engine would send",
        more: "engine finds most such mistakes before it sends anything. The rest depend on the account, the region \
               or existing resources. If the spec is valid according to the AWS documentation, please report a bug \
               in engine.",
        blames: [],
    }
    Rejected "rejected" {
        title: "AWS rejected the request",
        why: "AWS gave a reason that engine doesn't recognize, and a retry won't help",
        next: "follow AWS's message, then run `engine apply` again",
        more: "This call changed nothing, and earlier changes are kept. AWS Support asks for the error code and the \
               request ID in AWS's message. If the message is unclear, please report it with the relevant part of \
               the spec.",
        blames: [],
    }
    UnexpectedAnswer "unexpected-answer" {
        title: "AWS returned an invalid response",
        why: "AWS returned success, but the response is incomplete or not in the documented format",
        next: "run the same command again with `-v`, as in `engine diff -v`; if the error persists, please report it",
        more: "A manually written policy, a proxy or an AWS emulator may cause this. engine writes nothing based on \
               a response that it doesn't understand.",
        blames: [],
    }
    Interrupted "interrupted" {
        title: "interrupted",
        why: "you pressed Ctrl-C, or the system asked engine to stop",
        next: "run the same command again to continue; `engine diff` shows what is left",
        more: "Calls in flight finish, and no new step starts. AWS continues what it has already begun. engine \
               completes a replacement of a mapping or a permission that has begun, because stopping halfway would \
               break the pipeline.",
        blames: [],
    }
    Guarded "guarded" {
        title: "engine's own guard blocked a call",
        why: "the guard checks every write right before it is sent, and this one was for a resource that doesn't \
              belong to the team",
        next: "this is a bug in engine; please report it with the output of `engine diff -v`",
        more: "The guard allows a write only if the resource's name starts with the team's name, a read in this run \
               showed no other owner, and it is not imported. Nothing was sent.",
        blames: [],
    }
    Defect "defect" {
        title: "engine has a bug",
        why: "engine reached a state that should be impossible",
        next: "this is a bug in engine; please report it with the output of `engine diff -v`",
        more: "Completed changes are kept. The next run reads everything again and can often continue.",
        blames: [],
    }
}
