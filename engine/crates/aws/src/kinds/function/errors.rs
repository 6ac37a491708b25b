//! What Lambda's answers about functions mean. Codes and messages are Lambda's, as seen on the
//! wire.

use crate::aws::Class;
use crate::aws::error::{ErrorRow, INVALID_PARAMETER};
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    INVALID_PARAMETER.saying(&["cannot be assumed by Lambda"]).class(Class::RoleNotAssumable),
    INVALID_PARAMETER.saying(&["execution role does not have permissions"]).class(Class::RoleLacksRight),
    INVALID_PARAMETER.saying(&["KMS key is invalid for CreateGrant"]).class(Class::KeyNotUsable),
    ErrorRow::of(&["ResourceConflictException"]).saying(&["FunctionUrlConfig exists"]).class(Class::Exists),
    INVALID_PARAMETER.saying(&["throttled by EC2"]).class(Class::Throttled),
    ErrorRow::ANY.saying(&["cannot be assumed by Lambda"]).cause(Code::RoleNotAssumable),
    ErrorRow::ANY.about("runtime").cause(Code::RuntimeNotSupported),
    ErrorRow::ANY.saying(&["no longer supported for creating or updating"]).cause(Code::RuntimeNotSupported),
    ErrorRow::ANY.saying(&["runtime parameter", "no longer supported"]).cause(Code::RuntimeNotSupported),
    ErrorRow::ANY.about("handler").cause(Code::HandlerInvalid),
    ErrorRow::ANY.about("memory_size").cause(Code::MemoryNotAllowed),
    ErrorRow::ANY.saying(&["environment variables", "4KB"]).cause(Code::EnvironmentTooLarge),
    ErrorRow::ANY.saying(&["UnreservedConcurrentExecution"]).cause(Code::ConcurrencyQuota),
    ErrorRow::ANY.saying(&["replicated function"]).cause(Code::FunctionReplicated),
    ErrorRow::ANY.saying(&["Unzipped size must be smaller"]).cause(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["Layers consume more than"]).cause(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["combined with layers exceeds"]).cause(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["Could not unzip"]).cause(Code::CodeUnreadable),
    ErrorRow::ANY.saying(&["Layer version"]).cause(Code::LayerNotUsable),
    ErrorRow::ANY.saying(&["Error occurred while Describe", "EC2 Error Code"]).cause(Code::NetworkNotUsable),
    ErrorRow::ANY.saying(&["S3 Error Code"]).cause(Code::CodeObjectNotUsable),
    ErrorRow::ANY.saying(&["Source image"]).cause(Code::ImageNotUsable),
    ErrorRow::ANY.saying(&["access the ECR image"]).cause(Code::ImageNotUsable),
    ErrorRow::of(&["CodeVerificationFailedException", "InvalidCodeSignatureException"]).cause(Code::CodeNotSigned),
    ErrorRow::of(&["CodeSigningConfigNotFoundException"]).cause(Code::CodeNotSigned),
    ErrorRow::of(&["RequestTooLargeException", "RequestEntityTooLargeException"]).cause(Code::CodeTooLarge),
    ErrorRow::of(&["CodeStorageExceededException"]).cause(Code::CodeStorageFull),
    ErrorRow::of(&["InvalidZipFileException"]).cause(Code::CodeUnreadable),
];
