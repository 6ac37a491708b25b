//! `code:` of a function: which source it names, and loading that.
//!
//! **Invariant:** it decides only what to load; `source` reads and packs files.

use std::mem::discriminant;
use std::path::Path as FilePath;

use crate::schema::{Problem, Property, Shape, Text, property};
use crate::value::{Path, Tree, Value};
use engine_core::kind::{Loaded, SpecFolder};

use super::build::Makes;
use super::source::{self, Entry, Package, Source, SourceError};

/// The property itself.
pub(super) fn code() -> Property {
    let exclude = Shape::List { item: Box::new(Shape::Text(Text::any(1024))), max: 1000 };
    let code = vec![
        property("inline", Shape::Text(Text { min: 1, ..Text::any(4_000_000) }), "source code, used literally")
            .no_references()
            .sensitive(),
        property(
            "path",
            Shape::Text(Text { min: 1, ..Text::any(4096) }),
            "path to a folder, file, or `.zip` or `.jar` archive, which is uploaded unchanged; relative to the spec",
        )
        .no_references(),
        property("exclude", exclude, "glob patterns of files to exclude from the package").no_references(),
    ];
    property(
        "code",
        Shape::TextOrRecord(Text { min: 1, ..Text::any(4096) }, code),
        "path to a folder, file, `.zip` or `.jar`, relative to the spec, or a mapping with `inline` source",
    )
    .required()
    .no_references()
    .write_only()
}

/// Loads the code of a function.
pub(super) fn load(desired: &Tree, folder: &SpecFolder, made: Option<(&Makes, &FilePath)>) -> Loaded {
    let text = |name: &str| desired.get(name).and_then(Value::as_str);
    let (Some(handler), Some(runtime)) = (text("handler"), text("runtime")) else { return Loaded::default() };
    let entry = Entry { handler, runtime, architecture: text("architecture") };
    let at =
        |path: &str, exclude| Source::Path { path: folder.path.join(path), boundary: folder.boundary.clone(), exclude };
    let (source, path) = match desired.get("code") {
        // Misread source code is not a path to look up or to show.
        Some(Value::String(path)) if glued(path).is_some() => return Loaded::default(),
        Some(Value::String(path)) => (at(path, Vec::new()), Path::property("code")),
        Some(Value::Map(code)) => match (code.get("inline"), code.get("path")) {
            (Some(Value::String(inline)), _) => (Source::Inline(inline.clone()), Path::property("code").key("inline")),
            (_, Some(Value::String(path))) => {
                let exclude = match code.get("exclude") {
                    Some(Value::List(patterns)) => {
                        patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    }
                    _ => Vec::new(),
                };
                (at(path, exclude), Path::property("code").key("path"))
            }
            _ => return Loaded::default(),
        },
        _ => return Loaded::default(),
    };
    // What esbuild wrote is complete, and what pip downloaded is added.
    let (source, wheels) = match made {
        Some((Makes::Bundle(_), output)) => {
            (Source::Path { path: output.to_owned(), boundary: None, exclude: Vec::new() }, None)
        }
        Some((Makes::Wheels, output)) => (source, Some(output)),
        Some((Makes::Code, _)) | None => (source, None),
    };
    // A layer can contain the handler's file, or wrap it.
    let has_layers = matches!(desired.get("layers"), Some(Value::List(layers)) if !layers.is_empty());
    pack(source::package_with(&source, wheels, entry), &path, has_layers)
}

pub(super) fn code_problem(desired: &Tree) -> Option<Problem> {
    let path = Path::property("code");
    let code = match desired.get("code")? {
        Value::String(text) => {
            let key = glued(text)?;
            let problem =
                format!("a space is missing after `{key}:`, so YAML reads the whole value of `code` as a path");
            return Some(Problem::error(path, problem, format!("write `{key}: …`")));
        }
        Value::Map(code) => code,
        _ => return None,
    };
    let has = |name: &str| !matches!(code.get(name), None | Some(Value::Null));
    // A missing key here had an invalid value, which is already reported.
    let known = code.contains_key("inline") && code.contains_key("path");
    if has("inline") && has("path") {
        Some(Problem::error(path, "`code` has both `inline` and `path`", "remove one of them"))
    } else if known && !has("inline") && !has("path") {
        let hint = "write `code: folder`, or `code:` with `inline: |` and the source under it";
        Some(Problem::error(path, "`code` needs either `inline` or `path`", hint))
    } else if has("inline") && has("exclude") {
        Some(Problem::error(path.key("exclude"), "`exclude` has no effect with `inline`", "remove `exclude`"))
    } else {
        None
    }
}

/// The key of `code` at the start of a text, where the space after its colon is missing.
fn glued(code: &str) -> Option<&'static str> {
    ["inline", "path", "exclude"]
        .into_iter()
        .find(|key| code.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

fn pack(package: Result<Package, Vec<SourceError>>, path: &Path, has_layers: bool) -> Loaded {
    match package {
        Ok(package) => Loaded {
            derived: Tree::from([
                ("image".to_owned(), Value::Null),
                ("code_sha256".to_owned(), Value::String(package.code_sha256)),
                ("code_size".to_owned(), Value::Number(package.zip.len().into())),
            ]),
            artifact: Some(package.zip.into()),
            build: None,
            problems: package
                .problems
                .into_iter()
                .map(|it| Problem {
                    path: path.clone(),
                    hint: match has_layers {
                        true => format!("ignore this if a layer provides or wraps the handler; otherwise {}", it.hint),
                        false => it.hint,
                    },
                    warning: it.warning || has_layers,
                    ..it
                })
                .collect(),
        },
        Err(errors) => Loaded {
            problems: of_each_kind(errors)
                .into_iter()
                .map(|(error, n_more)| Problem {
                    path: match error {
                        SourceError::Pattern { .. } | SourceError::ExcludeFromArchive(_) => {
                            Path::property("code").key("exclude")
                        }
                        SourceError::Handler { .. } => Path::property("handler"),
                        _ => path.clone(),
                    },
                    problem: match n_more {
                        0 => error.to_string(),
                        n => format!("{error}, and {n} more like this"),
                    },
                    why: error.why().map(str::to_owned),
                    hint: error.hint().to_owned(),
                    warning: false,
                    is_inapplicable: false,
                })
                .collect(),
            ..Loaded::default()
        },
    }
}

/// The first error of each variant and the number of others: in a wrong folder, each file can have
/// the same error. All pattern errors are kept, since each pattern is handwritten.
fn of_each_kind(errors: Vec<SourceError>) -> Vec<(SourceError, usize)> {
    let mut kinds: Vec<(SourceError, usize)> = Vec::new();
    for error in errors {
        let is_like = |it: &SourceError| discriminant(it) == discriminant(&error);
        match kinds.iter_mut().find(|(first, _)| is_like(first)) {
            Some((_, n_more)) if !matches!(error, SourceError::Pattern { .. }) => *n_more += 1,
            _ => kinds.push((error, 0)),
        }
    }
    kinds
}
