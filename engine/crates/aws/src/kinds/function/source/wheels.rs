//! Wheels that pip downloaded, as files of a package.
//!
//! **Invariant:** the files depend on the wheels alone: what pip would write besides when it
//! installs them (caches, scripts for this machine, records) is not part of a package.

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::spec::files::{self, Unread};

use super::{Files, MAX_UNZIPPED, SourceError};

/// The files of all wheels in a folder, as they are below `site-packages`.
pub(super) fn read(folder: &Path) -> Result<Files, Vec<SourceError>> {
    let unreadable = |error| vec![SourceError::Unreadable { path: folder.into(), error }];
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
    let mut wheels: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    wheels.sort();
    let (mut files, mut errors, mut budget) = (Files::new(), Vec::new(), MAX_UNZIPPED);
    for wheel in wheels {
        if let Err(error) = add(&wheel, &mut files, &mut budget) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn add(wheel: &Path, files: &mut Files, budget: &mut u64) -> Result<(), SourceError> {
    if wheel.extension().is_none_or(|it| it != "whl") {
        return Err(SourceError::NotWheel { path: wheel.into() });
    }
    let bytes =
        files::read(wheel, usize::try_from(MAX_UNZIPPED).unwrap_or(usize::MAX)).map_err(|unread| match unread {
            Unread::Refused(error) => SourceError::Unreadable { path: wheel.into(), error },
            _ => SourceError::Changed(wheel.into()),
        })?;
    let broken = |error| SourceError::NotZip { path: wheel.into(), error };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(broken)?;
        let name = member.enclosed_name().filter(|_| member.is_file());
        let Some(name) = name.as_deref().and_then(installed) else { continue };
        let mut content = Vec::new();
        let read = member.by_ref().take(*budget).read_to_end(&mut content);
        read.map_err(|error| SourceError::Unreadable { path: wheel.into(), error })?;
        *budget -= content.len() as u64;
        if *budget == 0 {
            return Err(SourceError::UnzippedTooLarge { path: wheel.into() });
        }
        files.insert(name, content);
    }
    Ok(())
}

/// Where a wheel's file is installed, relative to `site-packages`; `None` for scripts, headers and
/// data (packaging.python.org/en/latest/specifications/binary-distribution-format/).
fn installed(name: &Path) -> Option<String> {
    let parts: Vec<&str> = name.components().map(|part| part.as_os_str().to_str()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [data, "purelib" | "platlib", rest @ ..] if data.ends_with(".data") => Some(rest.join("/")),
        [data, ..] if data.ends_with(".data") => None,
        all => Some(all.join("/")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn libraries_are_installed_at_the_root_and_scripts_are_not() {
        let at = |name: &str| installed(Path::new(name));
        assert_eq!(at("six.py").unwrap(), "six.py");
        assert_eq!(at("six-1.0.dist-info/METADATA").unwrap(), "six-1.0.dist-info/METADATA");
        assert_eq!(at("six-1.0.data/purelib/six/a.py").unwrap(), "six/a.py");
        assert_eq!(at("six-1.0.data/platlib/six/b.so").unwrap(), "six/b.so");
        assert_eq!([at("six-1.0.data/scripts/six"), at("six-1.0.data/headers/six.h")], [None, None]);
    }
}
