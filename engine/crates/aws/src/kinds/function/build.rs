//! What has to run before a function's code exists: the `build:` of a spec, esbuild for TypeScript,
//! and pip for Python's requirements.
//!
//! **Invariant:** nothing runs here, and a build's output is packed like any other code.

mod bundle;
mod requirements;

use std::path::Path as FilePath;
use std::sync::Arc;

use engine_core::build::{Build, Command, Output};
use engine_core::kind::{Loaded, SpecFolder};

use crate::schema::{Problem, Property, Shape, Text, property};
use crate::value::{Path, Tree, Value};

use super::reference;
use super::source::{self, accessible};

/// The property.
const BUILD: &str = "build";

/// The property itself.
pub(super) fn build() -> Property {
    let text = || Shape::Text(Text { min: 1, ..Text::any(4096) });
    let list = |max| Shape::List { item: Box::new(text()), max };
    let members = vec![
        property("command", Shape::OneOf(vec![text(), list(100)]), "a line for the shell, or a program and its arguments")
            .required()
            .no_references(),
        property("directory", text(), "the folder in which it runs, relative to the spec; defaults to the spec's folder")
            .no_references(),
        property(
            "inputs",
            list(1000),
            "files and folders that it reads, relative to `directory`; defaults to everything there that git doesn't ignore",
        )
        .no_references(),
    ];
    property(
        BUILD,
        Shape::OneOf(vec![text(), list(100), Shape::Record(members)]),
        "a command that makes `code`, which runs before `diff` and `apply` when its inputs have changed",
    )
    .no_references()
    .write_only()
}

/// What has to run before the code of a function can be loaded, and what it makes.
pub(super) struct Planned {
    pub(super) build: Build,
    pub(super) makes: Makes,
    /// Problems with its inputs and its output.
    problems: Vec<Problem>,
}

/// What a build makes.
pub(super) enum Makes {
    /// The code itself.
    Code,
    /// The code, in engine's own folder, with this handler.
    Bundle(String),
    /// Libraries for the code, as wheels in engine's own folder.
    Wheels,
}

/// What has to run before the code of a function can be loaded.
pub(super) fn of(desired: &Tree, folder: &SpecFolder) -> Option<Planned> {
    let (code, path) = match desired.get("code")? {
        Value::Map(code) => (code.get("path")?.as_str()?, Path::property("code").key("path")),
        code => (code.as_str()?, Path::property("code")),
    };
    let code = &folder.path.join(code);
    let text = |name: &str| desired.get(name).and_then(Value::as_str);
    if let Some(written) = desired.get(BUILD).filter(|it| **it != Value::Null) {
        let build = by_command(written, code, folder)?;
        // Before it writes there.
        let refused = source::will_be_accessible(code, folder.boundary.as_deref()).err();
        let problems = super::code::refused(refused.into_iter().collect(), &path);
        return Some(Planned { build, makes: Makes::Code, problems });
    }
    if let Some((build, handler)) = bundle::of(code, text("handler"), text("runtime")?, folder) {
        return Some(Planned { build, makes: Makes::Bundle(handler), problems: Vec::new() });
    }
    // Any other error about the path is reported when the code is loaded.
    let code = &accessible(code, folder.boundary.as_deref()).ok()?;
    let (build, problems) = requirements::of(code, text("runtime")?, text("architecture").unwrap_or("x86_64"))?;
    Some(Planned { build, makes: Makes::Wheels, problems })
}

/// The build that the spec has.
fn by_command(written: &Value, code: &FilePath, folder: &SpecFolder) -> Option<Build> {
    let (command, directory, inputs) = match written {
        Value::Map(members) => (
            self::command(members.get("command")?)?,
            members.get("directory").and_then(Value::as_str),
            members.get("inputs").map(texts).unwrap_or_default(),
        ),
        short => (self::command(short)?, None, Vec::new()),
    };
    Some(Build {
        command,
        directory: directory.map_or_else(|| folder.path.clone(), |it| folder.path.join(it)),
        inputs: if inputs.is_empty() { vec![".".to_owned()] } else { inputs },
        output: Output::Path(code.to_owned()),
        path: Path::property(BUILD),
    })
}

fn command(value: &Value) -> Option<Command> {
    match value {
        Value::String(line) => Some(Command::Shell(line.clone())),
        Value::List(_) => Some(Command::Program(texts(value))),
        _ => None,
    }
}

fn texts(list: &Value) -> Vec<String> {
    match list {
        Value::List(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// A function whose code doesn't exist yet.
pub(super) fn unbuilt(Planned { build, makes, problems }: Planned, desired: &Tree) -> Loaded {
    let mut derived = Tree::from([
        (reference::IMAGE.to_owned(), Value::Null),
        (reference::SOURCE.to_owned(), Value::Null),
        ("code_sha256".to_owned(), Value::unbuilt()),
        ("code_size".to_owned(), Value::unbuilt()),
    ]);
    if let (Makes::Bundle(handler), None | Some(Value::Null)) = (makes, desired.get("handler")) {
        derived.insert("handler".to_owned(), Value::String(handler));
    }
    let is_bundle = derived.contains_key("handler");
    let missing = super::code::missing(desired).into_iter().filter(|_| !is_bundle);
    let problems = problems.into_iter().chain(missing).collect();
    Loaded { derived, build: Some(build), problems, ..Loaded::default() }
}

/// A function with the package that was made when it was planned.
pub(super) fn planned(zip: &Arc<[u8]>) -> Loaded {
    Loaded {
        derived: Tree::from([
            (reference::IMAGE.to_owned(), Value::Null),
            (reference::SOURCE.to_owned(), Value::Null),
            ("code_sha256".to_owned(), Value::String(source::code_sha256(zip))),
            ("code_size".to_owned(), Value::Number(zip.len().into())),
        ]),
        artifact: Some(source::artifact(zip)),
        ..Loaded::default()
    }
}

/// Errors in `build:` and `code:` together.
pub(super) fn problems(desired: &Tree) -> Option<Problem> {
    desired.get(BUILD).filter(|it| **it != Value::Null)?;
    let Value::Map(code) = desired.get("code")? else { return None };
    let forms = [("inline", "`inline` code"), ("s3", "code in S3"), ("image", "a container image")];
    let is_set = |form: &str| code.get(form).is_some_and(|it| *it != Value::Null);
    let (_, form) = forms.into_iter().find(|(form, _)| is_set(form))?;
    let hint = "remove `build`, or set `code` to the file or folder that it writes";
    let problem = Problem::error(Path::property(BUILD), format!("`build` has no effect with {form}"), hint);
    Some(problem.inapplicable_with(BUILD, "code"))
}
