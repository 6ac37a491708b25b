//! Why AWS may not do what was asked: a stable code for each cause, with what it means and what to do.
//!
//! The texts of errors, `engine explain CODE` and the list of codes all come out of this one catalogue. Scripts and
//! people's notes name codes, so none is ever renamed, or used again for something else.
//!
//! **Invariant:** it only says; which failure has which cause is decided in `aws::error`.

/// What the catalogue says of a code. Texts but `more` are lower-case sentences without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What has happened.
    pub title: &'static str,
    /// Why that happens.
    pub why: &'static str,
    /// What to do next, with a command.
    pub next: &'static str,
    /// What else is worth knowing, in whole sentences.
    pub more: &'static str,
    /// The properties that may be to blame; the first of them that a spec has is shown.
    pub blames: &'static [&'static str],
}

/// The codes with their entries, in one place, so that none can be without the other.
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

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }

            /// What the catalogue says of it.
            pub const fn entry(self) -> Entry {
                match self {
                    $(Code::$code => Entry {
                        title: $title, why: $why, next: $next, more: $more, blames: &$blames,
                    },)*
                }
            }
        }
    };
}

impl Code {
    /// The code of that name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

catalogue! {
    RoleNotAssumable "role-not-assumable" {
        title: "Lambda can't assume the function's role",
        why: "the role's trust policy has to let the service `lambda.amazonaws.com` assume it, and IAM takes up to a \
              minute or so to let all of AWS know of a change",
        next: "look at the trust policy with `aws iam get-role --role-name ROLE`; it must allow `sts:AssumeRole` for the \
               service `lambda.amazonaws.com`; ask its owner",
        more: "A role has two sides: its permissions say what it may do, its trust policy says who may use it. Lambda \
               answers with the same text whether the trust policy is wrong or just not known everywhere yet, so the \
               engine reads the policy: one that can't work is told at once, one that is right is waited for. If it is \
               right and stays refused, a policy of the organization may deny `sts:AssumeRole`.",
        blames: ["role", "function"],
    }
    RoleOfOtherAccount "role-of-other-account" {
        title: "the role belongs to another account",
        why: "a function can only run with a role of its own account",
        next: "compare the account in the role's ARN with the one that `aws sts get-caller-identity` shows, and import \
               a role of that account",
        more: "A function that has to work in another account runs with a role of its own account, and assumes the \
               other one in its code. An `account:` in the spec makes sure that credentials of a wrong account are \
               noticed before anything is asked for.",
        blames: ["role"],
    }
    RoleLacksRight "role-lacks-right" {
        title: "the function's role lacks a right that Lambda checks",
        why: "Lambda takes a setting only if the role may do what the setting leads to: trace, or send to a queue, a \
              topic or a bucket",
        next: "have the role's owner add the permission that AWS names (`aws iam put-role-policy --role-name ROLE`), \
               then run the same command again",
        more: "`tracing: Active` needs xray:PutTraceSegments and xray:PutTelemetryRecords. A target for failures needs \
               sqs:SendMessage, sns:Publish or s3:PutObject on that target. IAM takes up to a minute or so to let all \
               of AWS know, which the engine waits for.",
        blames: ["tracing", "dead_letter_target_arn", "on_failure_destination_arn", "role"],
    }
    StreamNotReadable "stream-not-readable" {
        title: "the function's role may not read the stream",
        why: "Lambda polls the stream with the execution role of the function; no permission of the function stands in \
              for that",
        next: "the role needs dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator and \
               dynamodb:ListStreams on the stream; the managed policy AWSLambdaDynamoDBExecutionRole has them \
               (`aws iam attach-role-policy --role-name ROLE --policy-arn \
               arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole`); ask the role's owner",
        more: "A statement for `dynamodb.amazonaws.com` in the function's policy does not help: DynamoDB never calls a \
               function, Lambda fetches the records. `engine explain permission` says more about that. A stream that \
               is encrypted with a key of your own also needs kms:Decrypt on that key. IAM takes up to a minute or so to \
               let all of AWS know of new rights, and the engine waits for that before it gives up.",
        blames: ["event_source_arn"],
    }
    StreamUnknown "stream-unknown" {
        title: "Lambda does not know the stream",
        why: "a stream's ARN changes whenever the stream is switched on, so one that was copied may be of an earlier \
              stream, or of a table that is gone",
        next: "write `${TABLE.stream_arn}`, which is always the present one of a table in the spec, and run \
               `engine diff`; `aws dynamodbstreams list-streams` shows those that there are",
        more: "The time in a stream's ARN is when it was switched on. After a stream is switched off, its ARN still \
               stands in DynamoDB's answers for a while. A stream that was switched on seconds ago may not be known \
               to Lambda yet, which the engine waits for.",
        blames: ["event_source_arn"],
    }
    KmsKeyNotUsable "kms-key-not-usable" {
        title: "the encryption key can't be used",
        why: "the key is disabled, deleted, in another region, or its policy does not let whoever deploys use it",
        next: "look at it with `aws kms describe-key --key-id KEY`; it has to be enabled, and its policy has to let \
               whoever deploys create grants (kms:CreateGrant); ask its owner",
        more: "Lambda encrypts a function's variables, and DynamoDB a table, with a grant on the key that it makes in \
               the name of whoever deploys. Only symmetric keys of the same region will do. A role that was deleted \
               and made again under its old name loses the grant: setting another role and then the right one again \
               renews it.",
        blames: ["kms_key_arn", "environment"],
    }
    PrincipalUnknown "principal-unknown" {
        title: "AWS knows no such principal",
        why: "a policy can only name a service that exists, or a user or role that exists at that moment",
        next: "check the ARN or the service's name; there has to be such a user or role at the moment when the \
               permission is added (`aws iam get-role --role-name NAME` shows whether there is); then run \
               `engine apply` again",
        more: "A service is written like `dynamodb.amazonaws.com`, an account as its twelve digits. AWS turns a user or \
               role into its inner id when it is written into a policy, so it has to exist by then. One that was made \
               seconds ago is waited for.",
        blames: ["principal"],
    }
    AccessDenied "access-denied" {
        title: "AWS does not allow this call",
        why: "nothing lets the user or role that runs the engine do this",
        next: "ask whoever owns the account for the permission that AWS names; `aws sts get-caller-identity` shows who \
               is asking",
        more: "AWS's text names who asked, for which action, on what. Handing a function its role needs `iam:PassRole` \
               on that role, and tags at creation need the action that tags. Reading is enough for `engine diff`; the \
               README lists each call that each command makes.",
        blames: [],
    }
    ExplicitDeny "explicit-deny" {
        title: "a policy forbids this call",
        why: "a statement with `Deny` matches, and that beats every statement that allows",
        next: "ask whoever owns the account or the organization to change the policy that AWS names; more rights for \
               you would not help; `aws sts get-caller-identity` shows who is asking",
        more: "A denial may stand in a service control policy of the organization, a permissions boundary, a session's \
               policy, or in the policy of the resource. Often it is about a region, a tag that must be there, or an \
               account that must not have such things at all.",
        blames: [],
    }
    NoCredentials "no-credentials" {
        title: "there are no AWS credentials",
        why: "none of the places where AWS tools look for credentials has any",
        next: "looked for: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile of AWS_PROFILE or `--profile` in \
               ~/.aws/config and ~/.aws/credentials (also SSO and credential_process), a web identity token, container \
               and instance roles; run `aws configure` or `aws sso login`, or add `--local` to try it without an account",
        more: "The engine uses the same chain as the AWS CLI, so whatever makes `aws sts get-caller-identity` work makes \
               the engine work. `engine apply --local` needs no credentials: it runs against a local AWS on this machine.",
        blames: [],
    }
    CredentialsExpired "credentials-expired" {
        title: "the AWS credentials have expired",
        why: "temporary credentials end after some minutes or hours, also in the middle of a run",
        next: "get fresh credentials (`aws sso login`) and run the same command again; if they are fresh, check the \
               profile's name and this machine's clock",
        more: "What was done stays done, and running the command again goes on from there. Credentials of a profile \
               with SSO or a role are renewed by themselves as long as the sign-in behind them lasts; keys that were \
               copied into the environment are not.",
        blames: [],
    }
    CredentialsRefused "credentials-refused" {
        title: "AWS does not take the credentials",
        why: "the keys are wrong, were deleted, or belong to another AWS",
        next: "get fresh credentials (`aws sso login`, or new keys) and run the same command again; if they are fresh, \
               check the profile's name, the region, and this machine's clock; `aws sts get-caller-identity` shows \
               whether they work",
        more: "Temporary credentials have three parts, and a session token that is missing or from another session \
               makes them invalid. A region that has to be switched on for an account, like `eu-south-1`, answers in \
               the same way before that. Keys in the environment win over a profile, unless `--profile` names it.",
        blames: [],
    }
    CredentialsNotFetched "credentials-not-fetched" {
        title: "the AWS credentials can't be fetched",
        why: "the source that the AWS settings name for them has given none",
        next: "`aws sts get-caller-identity` shows whether other tools get any; mend the profile in ~/.aws/config, or \
               choose another with `--profile`",
        more: "A profile may name a command (`credential_process`), a role to assume (`role_arn`), a file with a token \
               (`web_identity_token_file`) or a single sign-on as its source. The engine asks that once, before its first \
               call. What a command writes is never shown, for it may be the keys.",
        blames: [],
    }
    ProfileUnknown "profile-unknown" {
        title: "there is no such AWS profile",
        why: "`--profile` or AWS_PROFILE names one that the AWS settings don't have",
        next: "`aws configure list-profiles` shows which there are; choose one with `--profile`",
        more: "Profiles stand in ~/.aws/config, as `[profile NAME]`, and in ~/.aws/credentials, as `[NAME]`; AWS_CONFIG_FILE \
               and AWS_SHARED_CREDENTIALS_FILE name other files. Without `--profile` and AWS_PROFILE it is the profile \
               `default`.",
        blames: [],
    }
    MfaRequired "mfa-required" {
        title: "the AWS profile needs a one-time code",
        why: "a profile with `mfa_serial` gets its role's credentials only together with a code from your device, which \
              engine doesn't prompt for",
        next: "`aws configure export-credentials --profile NAME --format env` asks for the code and prints the session; set \
               it with `eval \"$(…)\"`, then run the same command again without `--profile`",
        more: "The session lasts an hour by default. Tools that act as a `credential_process` (aws-vault, granted) ask \
               for the code themselves, and a single sign-on needs none.",
        blames: [],
    }
    SettingMalformed "setting-malformed" {
        title: "an AWS setting has a character that can't be sent",
        why: "keys, tokens, regions and endpoints become part of HTTP headers, which take no line break, no control \
              character and nothing outside ASCII",
        next: "set the value again without that character (`aws configure` asks for the keys), then run the same command \
               again",
        more: "A key that was copied from a file or a web page often ends in a line break. The value itself is never \
               shown. Variables in the environment win over a profile, unless `--profile` names it.",
        blames: [],
    }
    CaBundleUnusable "ca-bundle-unusable" {
        title: "the certificates of AWS_CA_BUNDLE can't be used",
        why: "AWS_CA_BUNDLE or the profile's `ca_bundle` names a file that can't be read or is no bundle of PEM \
              certificates",
        next: "correct the path or the file, or remove the setting to trust the system's certificates; `engine doctor` \
               shows whether AWS can be reached",
        more: "A bundle takes the place of the system's certificates, as with AWS's other tools, so behind a proxy that \
               opens TLS it needs the proxy's certificate. The variable wins over the profile.",
        blames: [],
    }
    ClockWrong "clock-wrong" {
        title: "this machine's clock is wrong",
        why: "AWS takes no request whose time differs from its own by more than some minutes",
        next: "set the clock (`timedatectl set-ntp true` on Linux), then run `engine diff` again",
        more: "Every request is signed together with the time, so that nobody can send it again later. Virtual machines \
               and containers lose time while they sleep; starting them again, or synchronizing with a time server, \
               helps.",
        blames: [],
    }
    OtherRegion "other-region" {
        title: "something is in another region",
        why: "an ARN in the spec names another region than `region:`; a function can only be used from its own",
        next: "compare the region in the spec's ARNs with `region:`; `engine diff` shows the region in its first line",
        more: "A mapping, its function and its stream have to be in the same region. References like `${logger.arn}` \
               always name the spec's own region, so ARNs that were copied are the usual cause. `--region` wins over \
               `region:` in the spec.",
        blames: ["function", "event_source_arn", "layers", "role"],
    }
    OtherAccount "other-account" {
        title: "the credentials are for another account than the spec",
        why: "`account:` says where the spec may be deployed, so nothing was shown or written",
        next: "use credentials for the spec's account (`--profile NAME`; `aws sts get-caller-identity` shows the present \
               one), or correct `account:`",
        more: "With `account:` nobody deploys into the wrong account by a forgotten AWS_PROFILE. Keys in the environment \
               win over AWS_PROFILE, not over `--profile`.",
        blames: [],
    }
    RegionNotUsable "region-not-usable" {
        title: "it can't be told where to send the request",
        why: "the region, or an endpoint in its place, makes the address of each service",
        next: "write `region:` into the spec, or set AWS_REGION, or pass `--region`; then run `engine diff` again",
        more: "The region comes from `--region`, else from the spec, else from AWS_REGION, AWS_DEFAULT_REGION or the \
               profile. With a region in the spec, everybody who uses it means the same place.",
        blames: [],
    }
    ServiceNotEnabled "service-not-enabled" {
        title: "the account can't use this service",
        why: "the account's sign-up is not complete, or the service or region has to be switched on first",
        next: "look at the account in the AWS console, or ask whoever owns it; `aws account list-regions` shows which \
               regions are on",
        more: "A new account can use most services some minutes after its payment method is confirmed, at most a day \
               later. Regions that were opened after 2019 have to be switched on by whoever owns the account.",
        blames: [],
    }
    NoAnswer "no-answer" {
        title: "AWS gives no answer",
        why: "the network, a proxy or the endpoint keeps requests from arriving, or their answers from coming back",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL, proxy \
               variables), then run the same command again; `engine doctor` looks at the way to AWS",
        more: "Each command looks at what stands in AWS before it does anything, so running it again never makes a \
               thing twice. A region that does not exist has no address, and looks like a network that is gone. Once a \
               run has reached AWS, an outage of up to ten minutes is waited for.",
        blames: [],
    }
    OutOfReach "out-of-reach" {
        title: "AWS could not be reached any more",
        why: "an outage in the middle of a run is waited for, and this one took longer than that",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL, proxy \
               variables), then run the same command again; `engine doctor` looks at the way to AWS",
        more: "What is done stays done. The next run reads everything anew, goes on where this one ended, and finds what \
               a call whose answer was lost has made.",
        blames: [],
    }
    NotAws "not-aws" {
        title: "the answer is not one of AWS",
        why: "something else has answered: a proxy, a sign-in page, or another server at that address",
        next: "check the network, the region and the endpoint (`--region`, `--endpoint-url`, AWS_ENDPOINT_URL and proxy \
               variables), then run the same command again; `engine doctor` looks at the way to AWS",
        more: "Networks in hotels and companies answer with a page of their own until somebody has signed in there. What \
               AWS has done with such a request is not known, so the next run looks first.",
        blames: [],
    }
    AwsFault "aws-fault" {
        title: "AWS has failed",
        why: "the service could not carry out the request for a reason of its own",
        next: "run the same command again in a minute; `engine doctor` tells what answers",
        more: "Faults are repeated some times before the engine gives up. If one stays, look at \
               https://health.aws.amazon.com, and have the request id ready for AWS's support. A request that AWS can't \
               cope with, such as a key of the wrong kind for a table, may fail in this way each time.",
        blames: [],
    }
    Throttled "throttled" {
        title: "AWS takes no more calls for the moment",
        why: "everybody in the account shares AWS's rate limits, and many calls are made at the moment",
        next: "run the same command again in a minute; what is done stays done, and `engine diff` shows what is left",
        more: "Lambda takes fifteen calls a second that change or list something, from all of an account together. The \
               engine goes slower by itself and gives up after ten minutes. Fewer pipelines at once help: a loop over \
               teams in one command shares its rate, many commands side by side don't.",
        blames: [],
    }
    Busy "busy" {
        title: "AWS is still busy with an earlier change",
        why: "a table or function takes one change at a time, and this one has not ended yet",
        next: "run the same command again in a minute; what is done stays done, and `engine diff` shows what is left",
        more: "The engine waits for such changes, for some minutes each. Building an index, or a first change of the \
               billing mode, can take longer on a table with much data. Somebody else, like autoscaling, may change the \
               same thing again and again.",
        blames: [],
    }
    BeingDeleted "being-deleted" {
        title: "something of that name is still being deleted",
        why: "a name is free again only when AWS has deleted the last one that had it",
        next: "run the same command again in a minute; `engine diff` shows when it is gone",
        more: "A big table takes minutes to go. Nothing can be changed on what is being deleted; somebody may have asked \
               for that a moment ago.",
        blames: ["name"],
    }
    WaitOverdue "wait-overdue" {
        title: "AWS takes longer than expected",
        why: "AWS has taken the change, and was not done with it when the time for it was over",
        next: "look at the resource in the AWS console or with `engine diff`; running the same command again goes on \
               waiting",
        more: "Nothing is lost: AWS goes on working on it. Time in which this machine slept, or had no network, does not \
               count. If it stays like this for an hour, AWS's support can see why.",
        blames: [],
    }
    NameTaken "name-taken" {
        title: "the name is taken",
        why: "there is already one of that name, which did not stand there when the plan was made",
        next: "run `engine diff`, which shows whose it is and what would happen; another `name:` avoids it",
        more: "Names of tables and functions are unique in an account and region. One without an owner's tags can be \
               adopted, which `engine apply` asks for; one that belongs to another team or tool is left alone.",
        blames: ["name", "statement_id"],
    }
    NotFound "not-found" {
        title: "there is no such thing in AWS",
        why: "what the call was about, or what it refers to, does not exist there, or does not any more",
        next: "run `engine diff`, which shows what there is in this account and region, then `engine apply` again",
        more: "A wrong region or account looks the same as something that is gone; the first line of `engine diff` shows \
               both. What the engine itself has just made is waited for, since AWS shows it everywhere only after a while.",
        blames: [],
    }
    ChangedMeanwhile "changed-meanwhile" {
        title: "somebody else has changed it meanwhile",
        why: "it is not any more what the plan was made for, so nothing was overwritten",
        next: "run `engine diff` to see what changed, then apply again",
        more: "Right before it writes, each step looks again at what it is about to change. Two people who run the same \
               spec at once both end well, or one is told what the other did. If it happens each time, some other tool \
               manages the same resource: `ignore_changes` leaves a property to it.",
        blames: [],
    }
    TableNotEmpty "table-not-empty" {
        title: "the table is not empty",
        why: "deleting it would lose its items, and nothing brings them back",
        next: "keep the table, or add `--delete-data` to delete them too: `engine destroy --delete-data`",
        more: "The items are looked for again right before the delete, so some may have been written since the plan. \
               `aws dynamodb create-backup` saves a table first; `retain: true` in the spec leaves it standing.",
        blames: [],
    }
    DeletionProtected "deletion-protected" {
        title: "the table is protected against deletion",
        why: "deletion protection is on, and goes off only where somebody writes so",
        next: "write `deletion_protection: false` into the spec, run `engine apply`, then delete the table",
        more: "It keeps everybody from deleting the table, whatever their rights. Removing the line from the spec does \
               not switch it off: only `false` does.",
        blames: ["deletion_protection"],
    }
    NothingToChange "nothing-to-change" {
        title: "it is already as wanted",
        why: "somebody else has made the same change a moment ago, so AWS found nothing to do",
        next: "run `engine diff` to see whether something is left",
        more: "The engine takes this answer for done where it can tell. Where it can't, the next run looks again and \
               plans from what there is.",
        blames: [],
    }
    TtlTooSoon "ttl-too-soon" {
        title: "the time to live was changed a short while ago",
        why: "AWS lets a table's time to live be changed once in an hour",
        next: "run `engine apply` again in an hour; what is done stays done",
        more: "To move it to another attribute takes two changes, off and on, and so an hour between them. Everything \
               else about the table can be changed meanwhile.",
        blames: ["ttl_attribute"],
    }
    ChangedTooOften "changed-too-often" {
        title: "AWS takes this change only so often",
        why: "provisioned capacity can be lowered only some times a day, encryption changed a few times a day, and the \
              table's class twice in thirty days",
        next: "run `engine apply` again once the time is over; what is done stays done",
        more: "Capacity can be lowered four times at any time of a UTC day, and then once an hour. It can be raised at \
               any time. The rule protects AWS's own moving of data, and no quota changes it.",
        blames: ["read_capacity", "write_capacity", "table_class", "kms_key_arn"],
    }
    TableQuota "table-quota" {
        title: "the account has a limit for its tables that is reached",
        why: "an account may have so many tables and so much provisioned capacity in a region, all teams together",
        next: "`aws dynamodb describe-limits` shows the limits of capacity and `engine list --all-teams` who owns what; \
               delete what nobody needs, or ask whoever owns the account for more",
        more: "The quota for tables is 2,500 in a region unless it was raised. `billing_mode: PAY_PER_REQUEST` takes \
               nothing from the provisioned capacity of the account. It may also be that too many tables are being made \
               at once, which passes.",
        blames: [],
    }
    IndexQuota "index-quota" {
        title: "the table has too many indexes",
        why: "a table takes 20 global and 5 local secondary indexes, and so many projected attributes in all",
        next: "remove indexes from the spec that nobody queries, then look with `engine diff`; the first number can be \
               raised by whoever owns the account",
        more: "One index often serves several queries, when its keys are put together from several values. Local \
               indexes are fixed when the table is made.",
        blames: ["global_secondary_indexes", "local_secondary_indexes"],
    }
    ConcurrencyQuota "concurrency-quota" {
        title: "the account has too few concurrent executions left",
        why: "what is reserved for one function is taken from all others, and AWS keeps some for those without a \
              reservation",
        next: "choose a smaller `reserved_concurrent_executions`, or ask whoever owns the account for a higher quota \
               (`aws lambda get-account-settings` shows it)",
        more: "AWS keeps 100 concurrent executions for functions without a reservation. A new account may have as few as \
               10 in all, and then nothing can be reserved. A function without a reservation needs none: leave the \
               property out.",
        blames: ["reserved_concurrent_executions"],
    }
    QuotaReached "quota-reached" {
        title: "a limit of the account is reached",
        why: "AWS lets an account have only so many of these, all teams together",
        next: "delete what nobody needs (`engine list --all-teams` shows who owns what), or ask whoever owns the account \
               for a higher quota",
        more: "`aws service-quotas list-service-quotas --service-code lambda` shows the limits and which of them can be \
               raised. AWS's text says which one it is.",
        blames: [],
    }
    CodeStorageFull "code-storage-full" {
        title: "there is no room left for functions' code",
        why: "all functions of the account in this region share the space for their code",
        next: "delete functions or versions that nobody needs (`aws lambda get-account-settings` shows how much is \
               used), or ask whoever owns the account for more",
        more: "The quota is 75 GB in a region unless it was raised, and each published version counts. The engine \
               publishes no versions.",
        blames: ["code"],
    }
    CodeTooLarge "code-too-large" {
        title: "the function's code is too large",
        why: "a zip that is sent directly may have 50 MB, and code and layers together 250 MB when unpacked",
        next: "leave out what the function does not need with `code.exclude`, then look at the size with `engine diff`",
        more: "Tests, documentation and development dependencies are the usual suspects. Bundling to one file makes \
               JavaScript small, and the AWS SDK is already part of Lambda's Node.js and Python runtimes.",
        blames: ["code", "layers"],
    }
    CodeUnreadable "code-unreadable" {
        title: "Lambda can't unpack the function's code",
        why: "the zip that Lambda got is not one that it can read",
        next: "run `engine apply` again; if it stays so, please report it with the list of the files in `code:`",
        more: "The engine makes the zip itself, out of the folder or file in `code:`. A name that only some systems \
               allow, or a proxy that changes what is sent, can break it.",
        blames: ["code"],
    }
    EnvironmentTooLarge "environment-too-large" {
        title: "the function's variables are too large",
        why: "all names and values of a function's environment together may have 4 KB",
        next: "move what is large into the code or a parameter store, and check with `engine diff`",
        more: "AWS counts its JSON form, so quotes and line breaks add to it. Certificates and configuration fit better \
               into a file beside the code, secrets into Secrets Manager or Parameter Store, of which the variable \
               then holds the name. The values are never shown, here or elsewhere.",
        blames: ["environment"],
    }
    RuntimeNotSupported "runtime-not-supported" {
        title: "Lambda does not support the runtime",
        why: "Lambda makes and changes no functions of a runtime that is too old, or that it does not know in this region",
        next: "choose a newer `runtime` (`engine explain function.runtime` lists them), and try the code with it: \
               `engine apply --local`",
        more: "AWS ends a runtime in steps: first it gets no more security fixes, later functions can't be made with it, \
               then not changed. Functions that exist go on running. The dates stand in \
               https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html.",
        blames: ["runtime"],
    }
    HandlerInvalid "handler-invalid" {
        title: "Lambda does not take the handler",
        why: "it has to name a file and an export without blanks, in at most 128 characters",
        next: "write it like `index.handler`; `engine explain function.handler` says what it takes",
        more: "`index.handler` is the export `handler` of `index.js`, `index.mjs` or `index.cjs`. Whether the file has \
               such an export is checked before anything is sent, where the engine can read the code.",
        blames: ["handler"],
    }
    MemoryNotAllowed "memory-not-allowed" {
        title: "Lambda does not give the function so much memory",
        why: "the account allows less memory for a function than the 10,240 MB that AWS offers",
        next: "choose a smaller `memory_size`, or ask whoever owns the account to have it raised by AWS's support; \
               `engine explain function.memory_size` says what it takes",
        more: "New accounts often have a limit of 3,008 MB. Processor time grows with memory, and one full processor \
               comes with 1,769 MB.",
        blames: ["memory_size"],
    }
    LayerNotUsable "layer-not-usable" {
        title: "a layer can't be used",
        why: "there is no such version of it in this region, or it is not shared with this account",
        next: "check the ARN with `aws lambda get-layer-version-by-arn --arn ARN`; it ends in the number of a version",
        more: "Layers belong to one region, and their publisher may delete versions. A layer of another account has to \
               be shared by its owner, version by version.",
        blames: ["layers"],
    }
    PolicyTooLarge "policy-too-large" {
        title: "the function's policy has no room left",
        why: "the policy of a function may have 20 KB, statements of all teams and tools together",
        next: "look at it with `aws lambda get-policy --function-name NAME`; remove statements that nobody needs, or let \
               one say what several say now",
        more: "A mapping on a stream needs no statement at all: Lambda reads the stream with the function's role. One \
               statement with `source_account` can stand for many with `source_arn`.",
        blames: ["principal"],
    }
    FilterInvalid "filter-invalid" {
        title: "Lambda does not take a filter",
        why: "a pattern is no JSON object with lists of values, names something that records don't have, or is too long",
        next: "correct `filters`; `engine explain mapping.filters` says what it takes",
        more: "A pattern looks like `{ eventName: [INSERT] }`, and below `dynamodb` it names items as DynamoDB writes \
               them: `{ dynamodb: { NewImage: { done: { BOOL: [true] } } } }`. A mapping takes five patterns of at most \
               4,096 characters, and up to ten once AWS has raised that quota for the account. \
               https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html",
        blames: ["filters"],
    }
    FunctionReplicated "function-replicated" {
        title: "CloudFront still has copies of the function",
        why: "Lambda removes them some hours after the function was taken off the distribution, and keeps it until then",
        next: "take it off every distribution, and run the same command again some hours later: `engine destroy`",
        more: "Whatever a distribution calls (Lambda@Edge) is copied to many places. Nothing makes their removal faster, \
               and the function costs nothing meanwhile.",
        blames: [],
    }
    FunctionFailed "function-failed" {
        title: "Lambda could not set the function up",
        why: "Lambda took the request, and failed later, when it prepared the function",
        next: "mend what Lambda's reason names, then run `engine apply` again; \
               `aws lambda get-function --function-name NAME` shows its present state",
        more: "The usual reasons are the role, the encryption key, a network setting or a lack of room in the account. A \
               function whose update failed goes on running as it was before.",
        blames: [],
    }
    MappingDisabled "mapping-disabled" {
        title: "the mapping is disabled",
        why: "somebody has disabled it, or the spec says `enabled: false`; nobody reads the stream meanwhile",
        next: "run `engine apply`, which enables it unless the spec says otherwise, then `engine verify`",
        more: "What is written while a mapping is disabled waits in the stream for 24 hours, and is read once it is enabled \
               again. AWS disables a mapping by itself where the stream or the function is gone.",
        blames: ["enabled"],
    }
    RecordsFiltered "records-filtered" {
        title: "the mapping's filters drop the records",
        why: "a record that matches none of the filters is never sent to the function",
        next: "change `filters` in the spec, look with `engine validate`, then run `engine apply` and `engine verify`",
        more: "A pattern names what a record has, like `eventName: [INSERT]` or `dynamodb: { NewImage: { done: { BOOL: [true] } } }`. \
               What the stream's view type does not show is not there to be matched.",
        blames: ["filters"],
    }
    FunctionFails "function-fails" {
        title: "the function fails",
        why: "the code threw an error, ran out of time or memory, or could not be loaded",
        next: "mend the code; `engine logs --follow` shows each error with its trace, and `engine apply` puts the new code in place",
        more: "A batch whose invocation fails is sent again until it passes or its records expire after 24 hours, and what \
               follows in the shard waits behind it. `maximum_retry_attempts`, `bisect_batch_on_function_error` and \
               `report_batch_item_failures` of the mapping limit that.",
        blames: ["code"],
    }
    NotLogged "not-logged" {
        title: "the function was called, and its log does not show the item",
        why: "the code logs nothing of it, or fails before it comes to that",
        next: "log the record whole, like `console.log(JSON.stringify(record))`; `engine logs --raw` shows what is logged",
        more: "`engine verify` looks for the item's key and the word INSERT, MODIFY or REMOVE, or the words of the same meaning. \
               A log that shows neither is no proof, for events of others look the same.",
        blames: ["code"],
    }
    NotInvoked "not-invoked" {
        title: "the function was not called",
        why: "the mapping has not read the record yet, or could not",
        next: "run `engine verify --timeout 10m` again; `engine preflight` shows what the role lacks",
        more: "A mapping that was just made may take minutes until it reads its stream. The role that the function runs with \
               has to be allowed to read the stream, for Lambda polls it in the role's name.",
        blames: [],
    }
    NotAsAsked "not-as-asked" {
        title: "AWS took the change and shows something else",
        why: "somebody else may have changed it, or AWS has dropped the change silently",
        next: "run `engine diff` to see what is different, then `engine apply` again",
        more: "The answer to a change is never taken for the new state: the engine reads it again, more than once. If it \
               stays so, another tool, like autoscaling, may manage the property: `ignore_changes` leaves it to that.",
        blames: [],
    }
    InvalidValue "invalid-value" {
        title: "AWS does not take a value",
        why: "a value is out of its range, names something that does not fit, or does not go together with another one",
        next: "correct the spec as AWS's text says; `engine explain KIND` lists what each property takes, and \
               `engine diff` shows what would be sent",
        more: "Most of such mistakes are found before anything is sent. What is left depends on the account, the region, \
               or on what stands there. If the spec is right by the documentation of AWS, please report it: then the \
               engine sends something that it should not.",
        blames: [],
    }
    Rejected "rejected" {
        title: "AWS has refused the request",
        why: "AWS says no for a reason that the engine does not know, and will say so again",
        next: "do what AWS's text says, then run `engine apply` again",
        more: "Nothing was changed by this call, and whatever was done before stays done. The code and the request id in \
               AWS's text are what AWS's support asks for. If the text can't be understood, please report it together \
               with the part of the spec.",
        blames: [],
    }
    UnexpectedAnswer "unexpected-answer" {
        title: "AWS's answer is not understood",
        why: "AWS answered without an error, and what it said is not complete or not in the form that it documents",
        next: "run the same command again with `-v`, as in `engine diff -v`; if it stays so, please report it",
        more: "A policy that somebody wrote by hand, a proxy, or an emulator that imitates AWS may be behind it. Nothing \
               is written on the strength of an answer that is not understood.",
        blames: [],
    }
    Interrupted "interrupted" {
        title: "it was interrupted",
        why: "somebody pressed Ctrl-C, or the system asked the program to end",
        next: "run the same command again to go on; `engine diff` shows what is left",
        more: "Calls that are on their way finish, nothing new begins, and AWS goes on with what it has begun. A \
               replacement of a mapping or a permission that has begun is completed, since half of it would cut the \
               pipeline.",
        blames: [],
    }
    Guarded "guarded" {
        title: "the engine's own guard has stopped a call",
        why: "every write is checked right before it leaves, and this one was for something that is not the team's",
        next: "this is a defect of the engine; please report it, with what `engine diff -v` shows",
        more: "The guard lets a write through only if the name begins with the team's, a read of this run has shown that \
               nobody else owns the thing, and it is not imported. Nothing was sent.",
        blames: [],
    }
    Defect "defect" {
        title: "the engine has a defect",
        why: "something happened that its own rules exclude",
        next: "this is a defect of the engine; please report it, with what `engine diff -v` shows",
        more: "What is done stays done. Running the same command again reads everything anew, and often goes on.",
        blames: [],
    }
}
