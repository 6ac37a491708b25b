//! What Lambda's answers about functions mean. Codes and messages are Lambda's, as seen on the
//! wire.

use crate::aws::error::{ErrorRow, INVALID_PARAMETER};
use crate::cause::Code;

pub(super) const ERRORS: &[ErrorRow] = &[
    INVALID_PARAMETER.saying(&["cannot be assumed by Lambda"]).means(Code::RoleNotAssumable),
    INVALID_PARAMETER.saying(&["execution role does not have permissions"]).means(Code::RoleLacksRight),
    INVALID_PARAMETER.saying(&["KMS key is invalid for CreateGrant"]).means(Code::KmsKeyNotUsable),
    ErrorRow::of(&["ResourceConflictException"]).saying(&["FunctionUrlConfig exists"]).means(Code::NameTaken),
    INVALID_PARAMETER.saying(&["throttled by EC2"]).means(Code::Throttled),
    ErrorRow::ANY.saying(&["cannot be assumed by Lambda"]).refuses(Code::RoleNotAssumable),
    ErrorRow::ANY.about("runtime").refuses(Code::RuntimeNotSupported),
    ErrorRow::ANY.saying(&["no longer supported for creating or updating"]).refuses(Code::RuntimeNotSupported),
    ErrorRow::ANY.saying(&["runtime parameter", "no longer supported"]).refuses(Code::RuntimeNotSupported),
    ErrorRow::ANY.about("handler").refuses(Code::HandlerInvalid),
    ErrorRow::ANY.about("memory_size").refuses(Code::MemoryNotAllowed),
    ErrorRow::ANY.saying(&["environment variables", "4KB"]).refuses(Code::EnvironmentTooLarge),
    ErrorRow::ANY.saying(&["UnreservedConcurrentExecution"]).refuses(Code::ConcurrencyQuota),
    ErrorRow::ANY.saying(&["replicated function"]).refuses(Code::FunctionReplicated),
    ErrorRow::ANY.saying(&["Unzipped size must be smaller"]).refuses(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["Layers consume more than"]).refuses(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["combined with layers exceeds"]).refuses(Code::CodeTooLarge),
    ErrorRow::ANY.saying(&["Could not unzip"]).refuses(Code::CodeUnreadable),
    ErrorRow::ANY.saying(&["Layer version"]).refuses(Code::LayerNotUsable),
    ErrorRow::ANY.saying(&["Error occurred while Describe", "EC2 Error Code"]).refuses(Code::NetworkNotUsable),
    ErrorRow::ANY.saying(&["S3 Error Code"]).refuses(Code::CodeObjectNotUsable),
    ErrorRow::ANY.saying(&["Source image"]).refuses(Code::ImageNotUsable),
    ErrorRow::ANY.saying(&["access the ECR image"]).refuses(Code::ImageNotUsable),
    ErrorRow::of(&["CodeVerificationFailedException", "InvalidCodeSignatureException"]).refuses(Code::CodeNotSigned),
    ErrorRow::of(&["CodeSigningConfigNotFoundException"]).refuses(Code::CodeNotSigned),
    ErrorRow::of(&["RequestTooLargeException", "RequestEntityTooLargeException"]).refuses(Code::CodeTooLarge),
    ErrorRow::of(&["CodeStorageExceededException"]).refuses(Code::CodeStorageFull),
    ErrorRow::of(&["InvalidZipFileException"]).refuses(Code::CodeUnreadable),
];
