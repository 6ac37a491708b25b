//! The local AWS where there are no process groups: one clear error.
//!
//! **Invariant:** does nothing.

use super::{LocalError, Part, Project, Running, SuperviseArgs};

/// Refuses.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn ensure(_: &Project, _: &mut dyn FnMut(&str)) -> Result<Running, LocalError> {
    Err(LocalError::Windows)
}

/// There is nothing that would help.
pub fn survey(_: &Project) -> Vec<Part> {
    vec![("local AWS", Err(LocalError::Windows))]
}

/// Nothing runs here.
///
/// # Errors
/// None.
pub fn status(_: &Project) -> Result<Option<Running>, LocalError> {
    Ok(None)
}

/// Refuses.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn stop(_: &Project) -> Result<bool, LocalError> {
    Err(LocalError::Windows)
}

/// Refuses.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn uninstall(_: &Project) -> Result<bool, LocalError> {
    Err(LocalError::Windows)
}

/// Refuses.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn reset(_: &Project) -> Result<(), LocalError> {
    Err(LocalError::Windows)
}

/// Refuses.
///
/// # Errors
/// Always [`LocalError::Windows`].
pub fn supervise(_: SuperviseArgs) -> Result<(), LocalError> {
    Err(LocalError::Windows)
}
