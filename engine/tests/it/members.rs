//! AWS errors name members of engine's requests; each name leads to its line in the spec.

use engine::aws::error::{answered, explained};

const SPEC: &str = r#"team: owls
resources:
  execution-role:
    type: role
    import: runner
  todos:
    type: table
    name: owls-todos
    attributes: { id: S, day: S, owner: S, place: S }
    hash_key: id
    range_key: day
    billing_mode: PROVISIONED
    read_capacity: 1
    write_capacity: 2
    stream_view_type: NEW_IMAGE
    ttl_attribute: expires
    point_in_time_recovery: true
    recovery_period_in_days: 7
    table_class: STANDARD
    deletion_protection: true
    kms_key_arn: alias/aws/dynamodb
    tags: { cost: a }
    global_secondary_indexes:
      by-day:
        hash_key: day
        projection_type: KEYS_ONLY
      by-owner:
        hash_key: owner
        projection_type: INCLUDE
        non_key_attributes: [text]
        read_capacity: 3
        write_capacity: 4
    local_secondary_indexes:
      by-place:
        range_key: place
        projection_type: ALL
  logger:
    type: function
    name: owls-logger
    runtime: nodejs22.x
    handler: index.handler
    role: ${execution-role.arn}
    code: { inline: "exports.handler = async () => {};" }
    description: text
    memory_size: 256
    timeout: 5
    environment: { AB: "1" }
    architecture: arm64
    layers:
      - arn:aws:lambda:eu-central-1:123456789012:layer:one:1
      - arn:aws:lambda:eu-central-1:123456789012:layer:two:1
    ephemeral_storage: 1024
    tracing: Active
    log_format: JSON
    log_group: /owls/logger
    application_log_level: DEBUG
    system_log_level: WARN
    reserved_concurrent_executions: 1
    dead_letter_target_arn: arn:aws:sqs:eu-central-1:123456789012:letters
    async: { on_success_destination_arn: "arn:aws:sqs:eu-central-1:123456789012:done" }
    vpc: { subnet_ids: [subnet-1], security_group_ids: [sg-1] }
    kms_key_arn: arn:aws:kms:eu-central-1:123456789012:key/one
  pipe:
    type: mapping
    function: ${logger.arn}
    event_source_arn: ${todos.stream_arn}
    starting_position: LATEST
    batch_size: 10
    maximum_batching_window_in_seconds: 1
    filters: [{ eventName: [INSERT] }]
    maximum_retry_attempts: 3
    maximum_record_age_in_seconds: 60
    bisect_batch_on_function_error: true
    parallelization_factor: 1
    tumbling_window_in_seconds: 0
    report_batch_item_failures: true
    on_failure_destination_arn: arn:aws:sqs:eu-central-1:123456789012:lost
  allow:
    type: permission
    function: ${logger.arn}
    statement_id: owls-allow
    action: lambda:InvokeFunction
    principal: sns.amazonaws.com
    source_arn: arn:aws:sns:eu-central-1:123456789012:topic
    source_account: "123456789012"
"#;

/// Texts as the services write them: the resource, the code, the text, and the beginning of the
/// expected line. A block in the spec is shown at its first line. `''`: AWS names no member, and
/// the line follows from the cause or is the resource's own.
const TEXTS: &[(&str, &str, &str, &str)] = &[
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1",
        "read_capacity: 1",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '0' at 'provisionedThroughput.writeCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1",
        "write_capacity: 2",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        "read_capacity: 1",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: Neither WriteCapacityUnits nor ReadCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        "write_capacity: 2",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'streamSpecification.streamViewType' failed to satisfy constraint: Member must satisfy enum value set: [NEW_IMAGE]",
        "stream_view_type:",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: StreamViewType is required when StreamEnabled is true",
        "stream_view_type:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'a/b' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
        "name: owls-todos",
    ),
    (
        "todos",
        "ValidationException",
        "TableName must be at least 3 characters long and at most 255 characters long",
        "name: owls-todos",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [a], AttributeDefinitions: [id]",
        "attributes:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'X' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]",
        "attributes:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '' at 'keySchema.1.member.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
        "hash_key: id",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '' at 'keySchema.2.member.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
        "range_key: day",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'billingMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]",
        "billing_mode:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'tableClass' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, STANDARD_INFREQUENT_ACCESS]",
        "table_class:",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: KMSMasterKeyId cannot be specified when SSEType is not KMS",
        "kms_key_arn:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'sSESpecification.sSEType' failed to satisfy constraint: Member must satisfy enum value set: [AES256, KMS]",
        "kms_key_arn:",
    ),
    (
        "todos",
        "ValidationException",
        "TimeToLive is active on a different AttributeName: current AttributeName is until",
        "ttl_attribute:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
        "ttl_attribute:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '40' at 'pointInTimeRecoverySpecification.recoveryPeriodInDays' failed to satisfy constraint: Member must have value less than or equal to 35",
        "recovery_period_in_days:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '0' at 'globalSecondaryIndexes.2.member.provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1",
        "read_capacity: 3",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'globalSecondaryIndexes.1.member.projection.projectionType' failed to satisfy constraint: Member must satisfy enum value set: [ALL, INCLUDE, KEYS_ONLY]",
        "projection_type: KEYS_ONLY",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '[]' at 'globalSecondaryIndexes.2.member.projection.nonKeyAttributes' failed to satisfy constraint: Member must have length greater than or equal to 1",
        "non_key_attributes:",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'a' at 'globalSecondaryIndexes.2.member.indexName' failed to satisfy constraint: Member must have length greater than or equal to 3",
        "hash_key: owner",
    ),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value '' at 'localSecondaryIndexes.1.member.keySchema.2.member.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
        "range_key: place",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20",
        "by-day:",
    ),
    (
        "todos",
        "ValidationException",
        "One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds per-table limit of 5",
        "by-place:",
    ),
    ("todos", "ValidationException", "KMS validation error: the key is disabled", "kms_key_arn:"),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value '5000' at 'memorySize' failed to satisfy constraint: Member must have value less than or equal to 3008",
        "memory_size:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008",
        "memory_size:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        "timeout:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "Value nodejs at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs22.x] or be a valid ARN",
        "runtime:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "The runtime parameter of nodejs12.x is no longer supported for creating or updating AWS Lambda functions.",
        "runtime:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        "role:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
        "role:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\s]+",
        "handler:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "name: owls-logger",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value '100' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512",
        "ephemeral_storage:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value '[sparc]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]",
        "architecture:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'tracingConfig.mode' failed to satisfy constraint: Member must satisfy enum value set: [Active, PassThrough]",
        "tracing:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'a b' at 'loggingConfig.logGroup' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
        "log_group:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "ApplicationLogLevel and SystemLogLevel can only be set with LogFormat JSON",
        "application_log_level:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'deadLetterConfig.targetArn' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "dead_letter_target_arn:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'destinationConfig.onSuccess.destination' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "async:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        "environment:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [10].",
        "reserved_concurrent_executions:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "Layers are not in the same region as the function. Layers are expected to be in region eu-central-1.",
        "- arn:aws:lambda:eu-central-1:123456789012:layer:one:1",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'layers.2.member' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "- arn:aws:lambda:eu-central-1:123456789012:layer:two:1",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "Layer version arn:aws:lambda:eu-central-1:123456789012:layer:one:1 does not exist.",
        "- arn:aws:lambda:eu-central-1:123456789012:layer:one:1",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: The security group 'sg-1' does not exist",
        "vpc:",
    ),
    (
        "logger",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'kMSKeyArn' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "kms_key_arn:",
    ),
    ("logger", "AccessDeniedException", "User: u is not authorized to perform: iam:PassRole on resource: r", "role:"),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value '20000' at 'batchSize' failed to satisfy constraint: Member must have value less than or equal to 10000",
        "batch_size:",
    ),
    ("pipe", "InvalidParameterValueException", "BatchSize must be at most 10000 for this event source", "batch_size:"),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value '600' at 'maximumBatchingWindowInSeconds' failed to satisfy constraint: Member must have value less than or equal to 300",
        "maximum_batching_window_in_seconds:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value '11' at 'parallelizationFactor' failed to satisfy constraint: Member must have value less than or equal to 10",
        "parallelization_factor:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: [LATEST, TRIM_HORIZON]",
        "starting_position:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value '1' at 'maximumRecordAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60",
        "maximum_record_age_in_seconds:",
    ),
    (
        "pipe",
        "InvalidParameterValueException",
        "MaximumRetryAttempts must be between -1 and 10000",
        "maximum_retry_attempts:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'destinationConfig.onFailure.destination' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "on_failure_destination_arn:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value '[x]' at 'functionResponseTypes' failed to satisfy constraint: Member must satisfy constraint: [ReportBatchItemFailures]",
        "report_batch_item_failures:",
    ),
    ("pipe", "InvalidParameterValueException", "Invalid filter pattern definition.", "filters:"),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'eventSourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "event_source_arn:",
    ),
    (
        "pipe",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "function:",
    ),
    (
        "allow",
        "ValidationException",
        "1 validation error detected: Value 'a b' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)",
        "statement_id:",
    ),
    (
        "allow",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])",
        "action:",
    ),
    (
        "allow",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'sourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: x",
        "source_arn:",
    ),
    (
        "allow",
        "ValidationException",
        "1 validation error detected: Value '1' at 'sourceAccount' failed to satisfy constraint: Member must satisfy regular expression pattern: \\d{12}",
        "source_account:",
    ),
    (
        "allow",
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
        "principal:",
    ),
    // An error that names no member, or an unknown one, leads to the resource's line.
    ("todos", "ValidationException", "The parameter cannot be converted to a numeric value", "todos:"),
    (
        "todos",
        "ValidationException",
        "1 validation error detected: Value 'x' at 'attributeName' failed to satisfy constraint: X",
        "todos:",
    ),
    (
        "logger",
        "InvalidParameterValueException",
        "The role, the handler and the timeout of UpdateFunctionConfiguration are fine",
        "logger:",
    ),
];

#[test]
fn an_aws_error_points_at_the_spec_line_that_it_names() {
    let spec = crate::plan::load(SPEC);
    let mut wrong = Vec::new();
    for (resource, code, text, line) in TEXTS {
        let error = explained(answered("any", resource, code, text, 400));
        let location = spec.blamed(resource, &error).unwrap();
        let (at, _) = location.line_column();
        let found = SPEC.lines().nth(at - 1).unwrap().trim();
        if !found.starts_with(line) {
            wrong.push(format!("{text}\n    is shown at `{found}`, not `{line}`"));
        }
    }
    eprintln!("{} of {} texts point at their line", TEXTS.len() - wrong.len(), TEXTS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every property that users can set has an AWS name that leads back to it.
#[test]
fn every_property_is_found_by_its_own_member() {
    let mut n_properties = 0;
    for it in engine::kinds::all().iter() {
        let kind = &it.schema().kind;
        let schema = it.schema();
        for property in schema.settable() {
            let member = property.member.as_deref().map_or_else(|| property.name.replace('_', ""), str::to_owned);
            let path = schema.path_of(&member, &engine::value::Tree::new());
            assert_eq!(path.unwrap().root(), Some(&*property.name), "{kind}: {member}");
            n_properties += 1;
        }
    }
    eprintln!("{n_properties} properties");
}
