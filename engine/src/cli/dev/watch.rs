//! Notices changes to files in the folders that a spec uses.
//!
//! **Invariant:** any number of changes is one notice until it is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ignore::WalkBuilder;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::build::{self, Job};
use crate::cli::exit::CommandError;
use crate::cli::session::Session;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::spec::Spec;
use crate::value::Value;

/// How long no file changes before a change counts as complete: editors write a file in several
/// steps.
const QUIET: Duration = Duration::from_millis(30);
/// How long a change lasts at most.
const LONGEST: Duration = Duration::from_millis(500);
/// How many folders are watched at most.
const MAX_FOLDERS: usize = 20_000;
/// How much of a spec is searched for the file that it extends, in bytes.
const MAX_SPEC: usize = 1 << 20;

/// What a spec uses: which folders, and what of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Root {
    /// The entries of a folder.
    Flat(PathBuf),
    /// A folder that is packed, with all folders in it.
    Packed(PathBuf),
    /// A folder that a build reads, without what git ignores.
    Input(PathBuf),
}

/// Watches folders.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    changed: Arc<Notify>,
    roots: BTreeSet<Root>,
    /// The builds of the spec.
    builds: Vec<Job>,
    /// The watched folders, each with what identifies it: another folder may take its path.
    folders: BTreeMap<PathBuf, u64>,
}

impl Watch {
    /// Watches the folder of the spec at `path` and `files` that it has values from.
    ///
    /// # Errors
    /// The system allows no more watches.
    pub(super) fn new(path: &Path, files: &[PathBuf]) -> Result<Watch, CommandError> {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that changes may be lost.
            if event.as_ref().map_or(true, is_relevant) {
                notify.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| CommandError::one(unwatchable(&error)))?;
        let roots =
            std::iter::once(path).chain(files.iter().map(PathBuf::as_path)).map(|path| Root::Flat(parent(path)));
        let roots = roots.collect();
        let mut watch = Watch { watcher, changed, roots, builds: Vec::new(), folders: BTreeMap::new() };
        watch.refresh()?;
        Ok(watch)
    }

    /// Ends after a change, once it is complete.
    pub(super) async fn next(&self) {
        self.changed.notified().await;
        let end = Instant::now() + LONGEST;
        while timeout_at(end.min(Instant::now() + QUIET), self.changed.notified()).await.is_ok() {}
    }

    /// Whether there is a change since the last one that was taken.
    pub(super) fn has_changed(&self) -> bool {
        let is_changed = self.changed.notified().now_or_never().is_some();
        if is_changed {
            self.changed.notify_one();
        }
        is_changed
    }

    /// Also watches what the spec uses.
    ///
    /// # Errors
    /// The system allows no more watches.
    pub(super) fn follow(&mut self, session: &Session<'_>) -> Result<(), CommandError> {
        let (spec, project) = (&session.spec, session.project().dir.as_path());
        let builds = spec.managed("function").filter_map(|it| Some((0, project, it.name.as_str(), it.build.as_ref()?)));
        self.builds = build::jobs(builds);
        self.add(roots(spec))
    }

    /// Also watches the files that builds have read in their last run.
    ///
    /// # Errors
    /// The system allows no more watches.
    pub(super) fn follow_builds(&mut self) -> Result<(), CommandError> {
        let read = self.builds.iter().flat_map(Job::read_files).map(|path| Root::Flat(parent(&path)));
        self.add(read.collect())
    }

    fn add(&mut self, roots: BTreeSet<Root>) -> Result<(), CommandError> {
        if !roots.is_subset(&self.roots) {
            self.roots.extend(roots);
            // Its files may have changed before they were watched.
            self.changed.notify_one();
            self.refresh()?;
        }
        Ok(())
    }

    /// Watches the folders that exist now.
    ///
    /// # Errors
    /// The system allows no more watches.
    pub(super) fn refresh(&mut self) -> Result<(), CommandError> {
        let wanted: BTreeMap<PathBuf, u64> = self.roots.iter().flat_map(folders).take(MAX_FOLDERS).collect();
        let is_kept = |path: &PathBuf, id: &u64| wanted.get(path) == Some(id);
        self.folders.retain(|path, id| {
            let is_kept = is_kept(path, id);
            if !is_kept {
                // Its watch may have ended with it.
                drop(self.watcher.unwatch(path));
            }
            is_kept
        });
        for (path, id) in wanted {
            if self.folders.contains_key(&path) {
                continue;
            }
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(path, id)),
                // It may have been deleted since.
                Err(_) if !path.exists() => {}
                Err(error) => return Err(CommandError::one(unwatchable(&error))),
            }
        }
        Ok(())
    }
}

/// Whether an event is about a file of the user.
fn is_relevant(event: &Event) -> bool {
    let is_own = |path: &PathBuf| {
        let is_own = |name: &str| name == ".git" || name.ends_with(files::OWN_FOLDER) || files::is_draft(name);
        path.components().any(|part| part.as_os_str().to_str().is_some_and(is_own))
    };
    let is_change = !matches!(event.kind, EventKind::Access(_));
    is_change && (event.need_rescan() || !event.paths.iter().all(is_own))
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What a spec uses.
fn roots(spec: &Spec) -> BTreeSet<Root> {
    let path = Path::new(spec.file.name());
    let folder = parent(path);
    let mut roots: BTreeSet<Root> =
        extended(path).into_iter().map(|base| Root::Flat(parent(&folder.join(base)))).collect();
    for function in spec.managed("function") {
        if let Some(build) = &function.build {
            roots.extend(build.inputs.iter().map(|input| Root::Input(build.directory.join(input))));
            continue;
        }
        let code = match function.desired.get("code") {
            Some(Value::Map(code)) => code.get("path").and_then(Value::as_str),
            code => code.and_then(Value::as_str),
        };
        if let Some(code) = code.map(|code| folder.join(code)) {
            // The folder itself may be replaced by another one.
            roots.insert(Root::Flat(parent(&code)));
            roots.insert(Root::Packed(code));
        }
    }
    roots
}

/// The file that the spec at `path` extends.
fn extended(path: &Path) -> Option<PathBuf> {
    let text = files::read(path, MAX_SPEC).ok()?;
    let text = String::from_utf8_lossy(&text);
    let value = text.lines().find_map(|line| line.strip_prefix("extends:"))?;
    let value = value.split(" #").next().unwrap_or(value);
    Some(PathBuf::from(value.trim().trim_matches(['"', '\''])))
}

/// The folders of a root, each with what identifies it.
fn folders(root: &Root) -> Vec<(PathBuf, u64)> {
    let (Root::Flat(path) | Root::Packed(path) | Root::Input(path)) = root;
    let Some(path) = path.ancestors().find(|it| it.is_dir()) else { return Vec::new() };
    let Ok(real) = path.canonicalize() else { return Vec::new() };
    let all = match root {
        Root::Packed(wanted) | Root::Input(wanted) if wanted.is_dir() => {
            let mut walk = WalkBuilder::new(&real);
            walk.standard_filters(false);
            if matches!(root, Root::Input(_)) {
                walk.parents(true).git_ignore(true).git_exclude(true).git_global(true).require_git(false);
            }
            let is_input = matches!(root, Root::Input(_));
            walk.filter_entry(move |entry| {
                let name = entry.file_name().to_string_lossy();
                let is_left_out = name == ".git" || name.ends_with(files::OWN_FOLDER);
                entry.depth() == 0 || !(is_left_out || is_input && name == "node_modules")
            });
            let all = walk.build().flatten().filter(|it| it.file_type().is_some_and(|kind| kind.is_dir()));
            all.map(ignore::DirEntry::into_path).collect()
        }
        _ => vec![real],
    };
    all.into_iter().map(|path| (path.clone(), identity(&path))).collect()
}

#[cfg(unix)]
fn identity(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map_or(0, |it| it.ino())
}

#[cfg(not(unix))]
fn identity(_path: &Path) -> u64 {
    0
}

fn unwatchable(error: &notify::Error) -> Diagnostic {
    let hint = match error.kind {
        notify::ErrorKind::MaxFilesWatch => "raise the limit: `sudo sysctl fs.inotify.max_user_watches=524288`",
        _ => "make the folder readable; `engine apply` deploys without watching",
    };
    Diagnostic::error("engine can't watch the files of the spec", hint).why(error.to_string())
}
