//! The local AWS on systems without process groups: one clear error.
//!
//! **Invariant:** does nothing.

use super::{
    LocalError, LockAttempt, Project, RequirementCheck, Running, Script, SuperviseArgs, SyntaxVerdict, WriteLock,
};

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn ensure(_: &Project, _: &mut dyn FnMut(&str)) -> Result<Running, LocalError> {
    Err(LocalError::Windows)
}

/// Reports that the local AWS doesn't run here.
pub fn check_requirements(_: &Project) -> Vec<RequirementCheck> {
    vec![("local AWS", Err(LocalError::Windows))]
}

/// No local AWS runs here.
///
/// # Errors
/// None.
pub fn status(_: &Project) -> Result<Option<Running>, LocalError> {
    Ok(None)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn stop(_: &Project) -> Result<bool, LocalError> {
    Err(LocalError::Windows)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn uninstall(_: &Project) -> Result<bool, LocalError> {
    Err(LocalError::Windows)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn reset(_: &Project) -> Result<(), LocalError> {
    Err(LocalError::Windows)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn lock_writes(_: &Project) -> Result<WriteLock, LocalError> {
    Err(LocalError::Windows)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn try_lock_writes(_: &Project) -> Result<LockAttempt, LocalError> {
    Err(LocalError::Windows)
}

/// Fails.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn supervise(_: SuperviseArgs) -> Result<(), LocalError> {
    Err(LocalError::Windows)
}

/// Checks nothing.
pub fn check_syntax(scripts: &[Script]) -> Vec<SyntaxVerdict> {
    vec![SyntaxVerdict::Unknown; scripts.len()]
}
