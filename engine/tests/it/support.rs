//! What several modules of the tests need.

use std::path::PathBuf;

pub(crate) use crate::shared::{DEADLINE, ENGINE, eventually, installed};

/// Where a program of this machine is.
pub(crate) fn installed_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The commands that a `--help` lists, in groups or not, under their first names.
pub(crate) fn commands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("Usage: ").unwrap();
    let (list, _) = list.split_once("Options:\n").unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("  ")).filter(|row| !row.starts_with(' '));
    rows.map(|row| row.split([' ', ',']).next().unwrap().to_owned()).collect()
}
