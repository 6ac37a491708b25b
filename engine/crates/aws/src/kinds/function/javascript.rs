//! Checks the JavaScript of a package by its syntax: whether Lambda will find the handler's file,
//! load it with the right module system, and find the export.
//!
//! **Invariant**: it reads only the given bytes, and a problem is certain only if the file fails in
//! every run. Syntax doesn't show exports that are computed at run time, so code that may create
//! one counts as "may export anything".
//!
//! The lookup rules are those of Lambda's loader, `UserFunction.js` in
//! github.com/aws/aws-lambda-nodejs-runtime-interface-client.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Node, Parser};

use crate::schema::Problem;
use crate::value::Path;

/// Larger files, in bytes, are not parsed: it would be slow, and a tool that knows the exports
/// generated a bundle of this size.
const MAX_PARSED: usize = 1 << 20;

/// Splits a Node.js handler into its module, relative to the package and without an extension, and
/// the path of the function in the module's exports: `src/index.api.handler` is `src/index` and
/// `api.handler`.
///
/// `None` if Lambda would reject it as malformed, or if it is absolute and refers to a file of a
/// layer.
pub fn split_handler(handler: &str) -> Option<(String, &str)> {
    if handler.starts_with('/') || handler.contains("..") {
        return None;
    }
    let (folder, base) = handler.rsplit_once('/').unwrap_or(("", handler));
    let (file, export) = base.split_once('.')?;
    if file.is_empty() || export.is_empty() {
        return None;
    }
    let folders = folder.split('/').filter(|part| !part.is_empty() && *part != ".");
    Some((folders.chain([file]).collect::<Vec<_>>().join("/"), export))
}

/// Whether a source has top-level `import` or `export` statements, which a CommonJS file can't
/// have. An ES module without them exports nothing, so it can't contain a handler.
pub fn is_module(source: &str) -> bool {
    Syntax::of(source.as_bytes()).is_some_and(|syntax| syntax.module.is_some())
}

/// What a problem of a suspected syntax error contains, and no other: Node.js decides about it
/// where there is one.
pub const SUSPECTED: &str = "` seems to have a syntax error near line ";

/// The handler's file among `files` (name to content), and whether Lambda loads it as an ES module.
/// `None` if it is missing or no JavaScript, or if [`problems`] reports that it is written in the
/// other module system.
pub fn script<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    handler: &str,
    runtime: &str,
) -> Option<(String, &'a [u8], bool)> {
    let version = runtime.strip_prefix("nodejs")?;
    let (module, _) = split_handler(handler)?;
    let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let (name, text) = handler_file(files, &module, major)?;
    let is_module = is_loaded_as_module(files, &name);
    let has_statements = || text.len() <= MAX_PARSED && Syntax::of(text).is_some_and(|syntax| syntax.module.is_some());
    let is_readable = !TYPESCRIPT.iter().any(|extension| name.ends_with(extension)) && (is_module || !has_statements());
    is_readable.then_some((name, text, is_module))
}

/// Checks the handler's file in `files` (name to content). Always empty for runtimes other than
/// `nodejs`.
pub fn problems(files: &BTreeMap<String, Vec<u8>>, handler: &str, runtime: &str) -> Vec<Problem> {
    let Some(version) = runtime.strip_prefix("nodejs") else {
        return Vec::new();
    };
    if handler.starts_with('/') {
        return Vec::new();
    }
    let Some((module, export)) = split_handler(handler) else {
        return vec![
            Problem::error(
                Path::default(),
                format!("handler `{handler}` doesn't have the form `file.export`"),
                "use `index.handler` for the export `handler` of `index.js` or `index.mjs`",
            )
            .why("Lambda splits the handler at the first dot after the last slash, and rejects `..`"),
        ];
    };
    let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let Some((name, text)) = handler_file(files, &module, major) else {
        return missing_file(files, handler, &module, export, major).into_iter().collect();
    };
    if TYPESCRIPT.iter().any(|extension| name.ends_with(extension)) || text.len() > MAX_PARSED {
        return Vec::new();
    }
    let Some(syntax) = Syntax::of(text) else {
        return Vec::new();
    };

    let mut problems = Vec::new();
    if let Some(line) = syntax.error {
        // The parser may not know newer syntax.
        problems.push(
            Problem::warning(
                Path::default(),
                format!("`{name}{SUSPECTED}{line}"),
                format!("run `node --check {name}`"),
            )
            .why("if Node.js also reports it, every invocation fails with `Runtime.UserCodeSyntaxError`"),
        );
    }
    let mismatch = if is_loaded_as_module(files, &name) {
        commonjs_in_module(&name, &syntax)
    } else {
        module_in_commonjs(&name, &syntax)
    };
    // After a syntax error or with the wrong module system, a missing export is only a consequence.
    if problems.is_empty() && mismatch.is_none() {
        problems.extend(missing_export(&name, &module, export, &syntax));
    }
    problems.extend(mismatch);
    problems
}

const JAVASCRIPT: [&str; 3] = [".js", ".mjs", ".cjs"];
const TYPESCRIPT: [&str; 3] = [".ts", ".mts", ".cts"];
/// The first Node.js version whose Lambda runtime loads TypeScript files.
const FIRST_WITH_TYPESCRIPT: u32 = 24;

/// The file that Lambda loads for a module: without an extension first, then in the loader's order
/// of extensions.
fn handler_file<'a>(files: &'a BTreeMap<String, Vec<u8>>, module: &str, major: u32) -> Option<(String, &'a [u8])> {
    let typescript = TYPESCRIPT.iter().filter(|_| major >= FIRST_WITH_TYPESCRIPT);
    [""].iter().chain(&JAVASCRIPT).chain(typescript).find_map(|extension| {
        let name = format!("{module}{extension}");
        files.get(&name).map(|text| (name, text.as_slice()))
    })
}

fn missing_file(
    files: &BTreeMap<String, Vec<u8>>,
    handler: &str,
    module: &str,
    export: &str,
    major: u32,
) -> Option<Problem> {
    // Finally the loader uses Node's resolution: a folder with this name, or an installed package.
    let by_node = [format!("{module}/index.js"), format!("{module}/package.json"), format!("node_modules/{module}.js")];
    let installed = format!("node_modules/{module}/");
    if by_node.iter().any(|name| files.contains_key(name)) || files.keys().any(|name| name.starts_with(&installed)) {
        return None;
    }
    let own = || {
        files
            .keys()
            .map(String::as_str)
            .filter(|name| !name.starts_with("node_modules/") && !name.contains("/node_modules/"))
    };
    let modules: Vec<&str> =
        own().filter_map(|name| JAVASCRIPT.iter().find_map(|extension| name.strip_suffix(extension))).collect();
    let file_of = |module: &str| module.rsplit('/').next().map(str::to_owned);
    let source =
        TYPESCRIPT.iter().map(|extension| format!("{module}{extension}")).find(|name| files.contains_key(name));
    let candidate = modules
        .iter()
        .copied()
        .find(|candidate| file_of(candidate) == file_of(module))
        .or_else(|| nearest(module, modules.iter().copied()))
        .or(match modules.as_slice() {
            [only] => Some(*only),
            _ => None,
        });
    let problem = format!("handler `{handler}` matches no file in the package");
    let why = format!(
        "Lambda looks for `{module}.js`, `{module}.mjs` and `{module}.cjs`; the package contains {}",
        list(own())
    );
    let hint = match (source, candidate) {
        (Some(source), _) if major < FIRST_WITH_TYPESCRIPT => {
            format!(
                "compile `{source}` to JavaScript and set `code` to the result: this runtime \
                 doesn't support TypeScript"
            )
        }
        (_, Some(candidate)) => format!("set `handler: {candidate}.{export}`, or rename the file"),
        _ => "set `handler` to the file's path without extension, a dot, and the export".into(),
    };
    Some(Problem::error(Path::default(), problem, hint).why(why))
}

fn missing_export(name: &str, module: &str, export: &str, syntax: &Syntax) -> Option<Problem> {
    // `api.handler` is a property of the export `api`, whose contents are not checked.
    let wanted = export.split('.').next().unwrap_or(export);
    if syntax.exports_unknown || syntax.exports.contains(wanted) {
        return None;
    }
    let exports = || syntax.exports.iter().map(String::as_str).filter(|name| *name != "__esModule");
    let statement = if syntax.module.is_some() || name.ends_with(".mjs") {
        format!("export const {wanted} = …")
    } else {
        format!("exports.{wanted} = …")
    };
    let why = match exports().next() {
        Some(_) => format!("it exports {}", list(exports())),
        None => "it has no named exports".into(),
    };
    let hint = match nearest(wanted, exports()) {
        Some(candidate) => format!("set `handler: {module}.{candidate}`, or rename the export"),
        None => format!("add `{statement}` to it, or use another export in `handler`"),
    };
    Some(Problem::error(Path::default(), format!("`{name}` doesn't export `{wanted}`"), hint).why(why))
}

fn module_in_commonjs(name: &str, syntax: &Syntax) -> Option<Problem> {
    let (line, keyword) = syntax.module?;
    let (why, stem) = match name.strip_suffix(".js") {
        Some(stem) => (
            "Lambda loads `.js` as CommonJS unless the nearest `package.json` has `\"type\": \"module\"`; it \
             turns off Node's syntax detection, with which the file may run locally",
            stem,
        ),
        None => ("`.cjs` is always CommonJS", name.trim_end_matches(".cjs")),
    };
    Some(
        Problem::error(
            Path::default(),
            format!("`{name}` has an `{keyword}` statement on line {line}, but Lambda loads it as CommonJS"),
            format!("rename it to `{stem}.mjs`; the handler stays the same"),
        )
        .why(why),
    )
}

fn commonjs_in_module(name: &str, syntax: &Syntax) -> Option<Problem> {
    let (line, code) = syntax.commonjs.as_ref()?;
    let (rule, hint) = match name.strip_suffix(".mjs") {
        Some(stem) => ("`.mjs` is always an ES module", format!("rename it to `{stem}.js`")),
        None => (
            "the nearest `package.json` has `\"type\": \"module\"`",
            format!("rename it to `{}.cjs`", name.trim_end_matches(".js")),
        ),
    };
    // Earlier code may have defined a global with this name.
    Some(
        Problem::warning(
            Path::default(),
            format!("`{name}` uses `{code}` on line {line}, but Lambda loads it as an ES module"),
            format!("{hint}, or use `import` and `export`"),
        )
        .why(format!("{rule}, and ES modules have no `require`, `module` or `exports`")),
    )
}

/// Whether Lambda loads a file as an ES module: `.mjs` always, `.js` depending on the nearest
/// `package.json`.
fn is_loaded_as_module(files: &BTreeMap<String, Vec<u8>>, name: &str) -> bool {
    if !name.ends_with(".js") {
        return name.ends_with(".mjs");
    }
    let mut folder = name;
    while !folder.is_empty() {
        folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        let manifest = if folder.is_empty() { "package.json".to_owned() } else { format!("{folder}/package.json") };
        if let Some(text) = files.get(&manifest) {
            let manifest: Option<serde_json::Value> = serde_json::from_slice(text).ok();
            return manifest.is_some_and(|manifest| manifest.get("type").is_some_and(|value| value == "module"));
        }
    }
    false
}

/// The result of one walk over a file's syntax tree. Lines start at 1.
#[derive(Default)]
struct Syntax {
    /// The first top-level `import` or `export` statement.
    module: Option<(usize, &'static str)>,
    /// The first use of CommonJS that certainly runs when the file is loaded.
    commonjs: Option<(usize, String)>,
    error: Option<usize>,
    exports: BTreeSet<String>,
    /// Whether there may be exports that syntax doesn't show.
    exports_unknown: bool,
    /// Whether the file declares its own `require`, usually with `createRequire`.
    declares_require: bool,
}

impl Syntax {
    /// `None` if the text is not UTF-8.
    fn of(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_javascript::LANGUAGE.into()).ok()?;
        let tree = parser.parse(text, None)?;

        let mut syntax = Self::default();
        walk(tree.root_node(), |node, ancestors| syntax.visit(node, ancestors, text));
        if tree.root_node().is_error() {
            // The parser rejected the whole file, for example because a bracket is never closed.
            let end = tree.root_node().end_position().row + 1;
            syntax.error.get_or_insert(end);
        }
        if syntax.declares_require {
            syntax.commonjs = syntax.commonjs.filter(|(_, code)| code != "require");
        }
        Some(syntax)
    }

    fn visit(&mut self, node: Node, ancestors: &[Node], text: &[u8]) {
        let line = node.start_position().row + 1;
        let Some(parent) = ancestors.last() else {
            return;
        };
        if node.is_error() || node.is_missing() {
            self.error.get_or_insert(line);
        }
        match node.kind() {
            "import_statement" if is_top_level(ancestors) => {
                self.module.get_or_insert((line, "import"));
            }
            "export_statement" if is_top_level(ancestors) => {
                self.module.get_or_insert((line, "export"));
                self.export_statement(node, text);
            }
            "identifier" => match source(node, text) {
                "exports" => self.exports_object(node, ancestors, text),
                "module" if !is_only_inspected(*parent, node) => self.exports_unknown = true,
                "eval" if is_field(*parent, "function", node) => self.exports_unknown = true,
                // Node.js passes `exports` and `module` as arguments of the file.
                "arguments" if ancestors.iter().all(|above| !HAS_OWN_THIS.contains(&above.kind())) => {
                    self.exports_unknown = true;
                }
                "require" if is_field(*parent, "function", node) && is_load_time(ancestors) => {
                    self.commonjs.get_or_insert((line, "require".into()));
                }
                "require" if is_field(*parent, "name", node) => self.declares_require = true,
                _ => {}
            },
            "this" if ancestors.iter().all(|above| !HAS_OWN_THIS.contains(&above.kind())) => {
                let commonjs = self.commonjs.take();
                self.exports_object(node, ancestors, text);
                // In an ES module, `this` is undefined.
                self.commonjs = commonjs;
            }
            "shorthand_property_identifier" if matches!(source(node, text), "module" | "exports") => {
                self.exports_unknown = true;
            }
            "member_expression" if is_module_exports(node, text) => self.exports_object(node, ancestors, text),
            _ => {}
        }
    }

    /// Records an export. A name with an escape, or the prototype, may be any export.
    fn export(&mut self, name: String) {
        self.exports_unknown |= name.contains('\\') || name == "__proto__";
        self.exports.insert(name);
    }

    /// Records the names of `export …`, or all exports of another module.
    fn export_statement(&mut self, node: Node, text: &[u8]) {
        for child in children(node) {
            match child.kind() {
                // Return early: `export default` doesn't export the declaration's name.
                "default" => {
                    self.exports.insert("default".into());
                    return;
                }
                "*" => self.exports_unknown = true,
                "namespace_export" => self.exports.extend(child.named_child(0).map(|name| literal(name, text))),
                "export_clause" => {
                    for specifier in children(child) {
                        let name = specifier.child_by_field_name("alias").or(specifier.child_by_field_name("name"));
                        self.exports.extend(name.map(|name| literal(name, text)));
                    }
                }
                "lexical_declaration" | "variable_declaration" => {
                    for name in children(child).filter_map(|declarator| declarator.child_by_field_name("name")) {
                        walk(name, |node, above| {
                            let binds = matches!(node.kind(), "identifier" | "shorthand_property_identifier_pattern");
                            let is_default = above.last().is_some_and(|parent| is_field(*parent, "right", node));
                            if binds && !is_default {
                                self.exports.insert(source(node, text).into());
                            }
                        });
                    }
                }
                _ => self.exports.extend(child.child_by_field_name("name").map(|name| literal(name, text))),
            }
        }
    }

    /// Handles one use of CommonJS's `exports` or `module.exports`, depending on the surrounding
    /// code. An unusual use may pass the object to code that adds exports.
    fn exports_object(&mut self, node: Node, ancestors: &[Node], text: &[u8]) {
        let [.., outer, parent] = ancestors else {
            return;
        };
        let assigned = outer.kind().ends_with("assignment_expression") && is_field(*outer, "left", *parent);
        match parent.kind() {
            "member_expression" if assigned => {
                parent.child_by_field_name("property").into_iter().for_each(|name| self.export(literal(name, text)));
            }
            "subscript_expression" if assigned => match parent.child_by_field_name("index") {
                Some(index) if index.kind() == "string" => self.export(literal(index, text)),
                _ => self.exports_unknown = true,
            },
            // Destructuring and loops assign, too.
            "member_expression" | "subscript_expression"
                if outer.kind().ends_with("pattern")
                    || is_field(*outer, "left", *parent) && outer.kind().starts_with("for") =>
            {
                self.exports_unknown = true;
            }
            "member_expression" | "subscript_expression" => return,
            "unary_expression" => return,
            // The value of `exports && …` is its right side.
            "binary_expression" if is_field(*parent, "left", node) && has_and(*parent) => return,
            "assignment_expression" if is_field(*parent, "left", node) => {
                // Assigning to `exports` only rebinds a local variable.
                if node.kind() == "member_expression" {
                    self.replaced_exports(*parent, ancestors, text);
                }
            }
            "arguments" if is_define_property(*outer, text) => match parent.named_child(1) {
                Some(name) if name.kind() == "string" => self.export(literal(name, text)),
                _ => self.exports_unknown = true,
            },
            _ => self.exports_unknown = true,
        }
        if is_load_time(ancestors) {
            self.commonjs.get_or_insert_with(|| (node.start_position().row + 1, source(node, text).into()));
        }
    }

    /// Handles `module.exports = …`, including chains of assignments.
    fn replaced_exports(&mut self, assignment: Node, ancestors: &[Node], text: &[u8]) {
        // In `const api = module.exports = {}`, the object has a second name, through which it can
        // get more exports.
        let user = ancestors.iter().rev().find(|node| node.kind() != "assignment_expression");
        let unused = ["expression_statement", "sequence_expression", "parenthesized_expression"];
        if !user.is_some_and(|user| unused.contains(&user.kind())) {
            self.exports_unknown = true;
        }
        let outer = ancestors.iter().rev().take_while(|node| node.kind() == "assignment_expression");
        let mut chain: Vec<Node> = outer.copied().collect();
        let mut value = assignment.child_by_field_name("right");
        while let Some(inner) = value.filter(|value| value.kind() == "assignment_expression") {
            chain.push(inner);
            value = inner.child_by_field_name("right");
        }
        // The same applies to `module.exports = api = {}`.
        let is_alias = |link: &Node| {
            let left = link.child_by_field_name("left").map_or("", |left| source(left, text));
            left != "exports" && left != "module.exports"
        };
        self.exports_unknown |= chain.iter().any(is_alias);
        match value {
            Some(object) if object.kind() == "object" => {
                for member in children(object).filter(Node::is_named) {
                    let name = match member.kind() {
                        "shorthand_property_identifier" => Some(member),
                        _ => member.child_by_field_name("key").or(member.child_by_field_name("name")),
                    };
                    match name {
                        Some(name) if name.kind() != "computed_property_name" => self.export(literal(name, text)),
                        None if member.kind() == "comment" => {}
                        _ => self.exports_unknown = true,
                    }
                }
            }
            // A function has no named exports; `module.exports = async (event) => …` is a common
            // mistake.
            Some(function) if matches!(function.kind(), "arrow_function" | "function_expression") => {}
            _ => self.exports_unknown = true,
        }
    }
}

/// Visits a node and its descendants in source order, each with its ancestors. Not recursive,
/// because generated code can be deeply nested.
fn walk<'tree>(root: Node<'tree>, mut visit: impl FnMut(Node<'tree>, &[Node<'tree>])) {
    let mut cursor = root.walk();
    let mut ancestors = Vec::new();
    loop {
        let node = cursor.node();
        visit(node, &ancestors);
        if cursor.goto_first_child() {
            ancestors.push(node);
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
            ancestors.pop();
        }
    }
}

fn children<'tree>(node: Node<'tree>) -> impl Iterator<Item = Node<'tree>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect::<Vec<_>>().into_iter()
}

fn is_field(parent: Node, field: &str, node: Node) -> bool {
    parent.child_by_field_name(field) == Some(node)
}

/// Nodes in which `this` is not the exports of a CommonJS file.
const HAS_OWN_THIS: [&str; 6] = [
    "function_declaration",
    "function_expression",
    "generator_function",
    "generator_function_declaration",
    "method_definition",
    "class_body",
];

/// A parse error node contains its surroundings, so statements in it count as top-level, too.
fn is_top_level(ancestors: &[Node]) -> bool {
    ancestors.iter().all(|node| node.kind() == "program" || node.is_error())
}

/// Whether code certainly runs when its file is loaded: outside functions, classes, conditions and
/// `try`.
fn is_load_time(ancestors: &[Node]) -> bool {
    ancestors.iter().all(|node| {
        matches!(
            node.kind(),
            "program"
                | "expression_statement"
                | "lexical_declaration"
                | "variable_declaration"
                | "variable_declarator"
                | "assignment_expression"
                | "member_expression"
                | "call_expression"
                | "arguments"
        )
    })
}

/// Whether a use of `module` only accesses a member or checks it, without passing it on.
fn is_only_inspected(parent: Node, node: Node) -> bool {
    match parent.kind() {
        "member_expression" => is_field(parent, "object", node),
        "unary_expression" => true,
        "binary_expression" => match parent.child_by_field_name("operator") {
            Some(operator) if matches!(operator.kind(), "&&" | "||" | "??") => {
                operator.kind() == "&&" && is_field(parent, "left", node)
            }
            _ => true,
        },
        _ => false,
    }
}

fn has_and(binary: Node) -> bool {
    binary.child_by_field_name("operator").is_some_and(|operator| operator.kind() == "&&")
}

fn is_module_exports(node: Node, text: &[u8]) -> bool {
    let is = |field, wanted| node.child_by_field_name(field).is_some_and(|part| source(part, text) == wanted);
    is("object", "module") && is("property", "exports")
}

fn is_define_property(call: Node, text: &[u8]) -> bool {
    let function = call.child_by_field_name("function").map(|function| source(function, text));
    matches!(function, Some("Object.defineProperty" | "Reflect.defineProperty"))
}

fn source<'text>(node: Node, text: &'text [u8]) -> &'text str {
    node.utf8_text(text).unwrap_or_default()
}

/// The name in an identifier or string literal; escapes are kept as written.
fn literal(node: Node, text: &[u8]) -> String {
    let source = source(node, text);
    if node.kind() == "string" { source.trim_matches(['"', '\'']).into() } else { source.into() }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "nothing".into(),
        n if n > SHOWN => {
            format!("{} and {} more", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "), n - SHOWN)
        }
        _ => names.join(", "),
    }
}

/// The name most like `wanted`, if at most a third of it differs.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &wanted.to_lowercase());
    names
        .map(|name| (distance(name), name))
        .min()
        .filter(|(distance, _)| distance * 3 <= wanted.chars().count())
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    const RUNTIME: &str = "nodejs22.x";

    fn report_on(files: &[(&str, &str)], handler: &str, runtime: &str) -> String {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        let text =
            |it: Problem| format!("{}\n  why: {}\n  hint: {}\n", it.problem, it.why.unwrap_or_default(), it.hint);
        problems(&files, handler, runtime).into_iter().map(text).collect()
    }

    /// One line per source with its exports; `?` for unknown ones.
    fn exports(sources: &[&str]) -> String {
        sources
            .iter()
            .map(|source| {
                let syntax = Syntax::of(source.as_bytes()).unwrap();
                let unknown = syntax.exports_unknown.then(|| "?".to_owned());
                let exports: Vec<_> = syntax.exports.into_iter().chain(unknown).collect();
                format!("{source}  =>  [{}]\n", exports.join(" "))
            })
            .collect()
    }

    #[test]
    fn common_js_exports_are_known_and_computed_ones_are_unknown() {
        assert_snapshot!(exports(&[
            "exports.h = async (event) => event",
            "exports.h ??= 1",
            "exports.a = exports.b = void 0",
            "exports['h'] = 1",
            "module.exports.h = 1",
            "module.exports = { h, 'i': 1, async j() {}, /* none */ get k() { return 1 } }",
            "exports = module.exports = { h }",
            "module.exports = exports = { h }",
            "exports.a = 1, module.exports = { h }",
            "0 && (module.exports = { h })",
            "Object.defineProperty(exports, \"h\", { enumerable: true, get: f })",
            "if (true) { exports.h = 1 }",
            "(() => { module.exports.h = 1 })()",
            "exports = { h }",
            "module.exports = async (event) => event",
            "console.log(exports.h, typeof exports, require.main === module)",
            "// exports.h = 1",
            "exports[name] = 1",
            "module.exports = handlers",
            "module.exports = require('./h')",
            "module.exports = { ...handlers, h }",
            "module.exports = { [name]: 1 }",
            "Object.assign(exports, handlers)",
            "Object.defineProperty(exports, name, {})",
            "__exportStar(require('./h'), exports)",
            "const api = exports; api.h = 1",
            "const api = module.exports = {}; api.h = 1",
            "fill(module)",
            "this.h = 1",
            "var __importDefault = (this && this.__importDefault) || f",
            "(function (root) { root.h = 1 })(this)",
            "const f = () => { this.h = 1 }",
            "function f() { this.h = 1 } class C { d = this.h; m() { fill(this) } }",
            "exports && f()",
            "var api; module.exports = api = {}; api.h = 1",
            "let api; exports = module.exports = api = {}; api.h = 1",
            "var e; e = module.exports = {}; e.h = 1",
            "var m = module; m.exports.h = 1",
            "const { exports: e } = module; e.h = 1",
            "const o = { module }; o.module.exports.h = 1",
            "if (typeof module === 'object' && module && module.exports) f()",
            "({ a: exports.h } = f())",
            "[exports.h] = f()",
            "for (exports.h of f()) break",
            "eval('exports.h = 1')",
            "arguments[0].h = 1",
            "function f() { return arguments }",
            "exports['\\x68'] = 1",
            "module.exports = { __proto__: f() }",
            "const api = exports || {}",
        ]), @r#"
        exports.h = async (event) => event  =>  [h]
        exports.h ??= 1  =>  [h]
        exports.a = exports.b = void 0  =>  [a b]
        exports['h'] = 1  =>  [h]
        module.exports.h = 1  =>  [h]
        module.exports = { h, 'i': 1, async j() {}, /* none */ get k() { return 1 } }  =>  [h i j k]
        exports = module.exports = { h }  =>  [h]
        module.exports = exports = { h }  =>  [h]
        exports.a = 1, module.exports = { h }  =>  [a h]
        0 && (module.exports = { h })  =>  [h]
        Object.defineProperty(exports, "h", { enumerable: true, get: f })  =>  [h]
        if (true) { exports.h = 1 }  =>  [h]
        (() => { module.exports.h = 1 })()  =>  [h]
        exports = { h }  =>  []
        module.exports = async (event) => event  =>  []
        console.log(exports.h, typeof exports, require.main === module)  =>  []
        // exports.h = 1  =>  []
        exports[name] = 1  =>  [?]
        module.exports = handlers  =>  [?]
        module.exports = require('./h')  =>  [?]
        module.exports = { ...handlers, h }  =>  [h ?]
        module.exports = { [name]: 1 }  =>  [?]
        Object.assign(exports, handlers)  =>  [?]
        Object.defineProperty(exports, name, {})  =>  [?]
        __exportStar(require('./h'), exports)  =>  [?]
        const api = exports; api.h = 1  =>  [?]
        const api = module.exports = {}; api.h = 1  =>  [?]
        fill(module)  =>  [?]
        this.h = 1  =>  [h]
        var __importDefault = (this && this.__importDefault) || f  =>  []
        (function (root) { root.h = 1 })(this)  =>  [?]
        const f = () => { this.h = 1 }  =>  [h]
        function f() { this.h = 1 } class C { d = this.h; m() { fill(this) } }  =>  []
        exports && f()  =>  []
        var api; module.exports = api = {}; api.h = 1  =>  [?]
        let api; exports = module.exports = api = {}; api.h = 1  =>  [?]
        var e; e = module.exports = {}; e.h = 1  =>  [?]
        var m = module; m.exports.h = 1  =>  [?]
        const { exports: e } = module; e.h = 1  =>  [?]
        const o = { module }; o.module.exports.h = 1  =>  [?]
        if (typeof module === 'object' && module && module.exports) f()  =>  [?]
        ({ a: exports.h } = f())  =>  [?]
        [exports.h] = f()  =>  [?]
        for (exports.h of f()) break  =>  [?]
        eval('exports.h = 1')  =>  [?]
        arguments[0].h = 1  =>  [?]
        function f() { return arguments }  =>  []
        exports['\x68'] = 1  =>  [\x68 ?]
        module.exports = { __proto__: f() }  =>  [__proto__ ?]
        const api = exports || {}  =>  [?]
        "#);
    }

    #[test]
    fn module_exports_have_their_outer_name() {
        assert_snapshot!(exports(&[
            "export const h = 1, i = 2",
            "export let { a, b: c, ...d } = x, [e = f] = y",
            "export async function h() {}",
            "export function* h() {}",
            "export class h {}",
            "export { x as h, i }",
            "export { x as 'h', y as default }",
            "export { h } from './h.mjs'",
            "export * as h from './h.mjs'",
            "export * from './h.mjs'",
            "export default function h() {}",
            "export default h",
        ]), @r"
        export const h = 1, i = 2  =>  [h i]
        export let { a, b: c, ...d } = x, [e = f] = y  =>  [a c d e]
        export async function h() {}  =>  [h]
        export function* h() {}  =>  [h]
        export class h {}  =>  [h]
        export { x as h, i }  =>  [h i]
        export { x as 'h', y as default }  =>  [default h]
        export { h } from './h.mjs'  =>  [h]
        export * as h from './h.mjs'  =>  [h]
        export * from './h.mjs'  =>  [?]
        export default function h() {}  =>  [default]
        export default h  =>  [default]
        ");
    }

    #[test]
    fn a_missing_export_is_named_with_the_nearest_one() {
        let report = |source| report_on(&[("index.js", source)], "index.handler", RUNTIME);
        assert_snapshot!(report("exports.Handler = 1; exports.other = 2; exports.__esModule = true"), @r"
        `index.js` doesn't export `handler`
          why: it exports `Handler`, `other`
          hint: set `handler: index.Handler`, or rename the export
        ");
        assert_snapshot!(report("module.exports = async () => {}"), @r"
        `index.js` doesn't export `handler`
          why: it has no named exports
          hint: add `exports.handler = …` to it, or use another export in `handler`
        ");
        assert_snapshot!(report_on(&[("index.mjs", "export default 1")], "index.handler", RUNTIME), @r"
        `index.mjs` doesn't export `handler`
          why: it exports `default`
          hint: add `export const handler = …` to it, or use another export in `handler`
        ");
        assert_eq!(report_on(&[("src/index.js", "exports.api = { handler }")], "./src/index.api.handler", RUNTIME), "");
    }

    #[test]
    fn the_module_system_is_the_one_lambda_loads_the_file_as() {
        let es = "import fs from 'fs';\nexport const handler = 1;";
        let common = "'use strict';\nconst fs = require('fs');\nexports.handler = 1;";
        let module = ("package.json", r#"{ "type": "module" }"#);
        let report = |files: &[(&str, &str)]| report_on(files, "src/index.handler", RUNTIME);
        assert_snapshot!(report(&[("src/index.js", es)]), @r#"
        `src/index.js` has an `import` statement on line 1, but Lambda loads it as CommonJS
          why: Lambda loads `.js` as CommonJS unless the nearest `package.json` has `"type": "module"`; it turns off Node's syntax detection, with which the file may run locally
          hint: rename it to `src/index.mjs`; the handler stays the same
        "#);
        assert_snapshot!(report(&[("src/index.cjs", "import 'fs'"), module]), @r"
        `src/index.cjs` has an `import` statement on line 1, but Lambda loads it as CommonJS
          why: `.cjs` is always CommonJS
          hint: rename it to `src/index.mjs`; the handler stays the same
        ");
        assert_snapshot!(report(&[("src/index.js", es), ("src/package.json", "{}"), module]), @r#"
        `src/index.js` has an `import` statement on line 1, but Lambda loads it as CommonJS
          why: Lambda loads `.js` as CommonJS unless the nearest `package.json` has `"type": "module"`; it turns off Node's syntax detection, with which the file may run locally
          hint: rename it to `src/index.mjs`; the handler stays the same
        "#);
        assert_snapshot!(report(&[("src/index.mjs", common)]), @r"
        `src/index.mjs` uses `require` on line 2, but Lambda loads it as an ES module
          why: `.mjs` is always an ES module, and ES modules have no `require`, `module` or `exports`
          hint: rename it to `src/index.js`, or use `import` and `export`
        ");
        assert_snapshot!(report(&[("src/index.js", "exports.handler = 1"), module]), @r#"
        `src/index.js` uses `exports` on line 1, but Lambda loads it as an ES module
          why: the nearest `package.json` has `"type": "module"`, and ES modules have no `require`, `module` or `exports`
          hint: rename it to `src/index.cjs`, or use `import` and `export`
        "#);
        for fine in [
            &[("src/index.mjs", es)][..],
            &[("src/index.js", es), module],
            &[("src/index.js", common)],
            &[("src/index.cjs", common), module],
            &[("src/index.js", common), ("src/package.json", "not json"), module],
            &[("src/index.js", "const m = import('./m.mjs'); exports.handler = async () => (await m).handler()")],
            &[(
                "src/index.mjs",
                "const require = createRequire(import.meta.url); require('fs'); export const handler = 1",
            )],
            &[(
                "src/index.mjs",
                "if (typeof module === 'object') module.exports = require('fs'); export const handler = 1",
            )],
        ] {
            assert_eq!(report(fine), "", "{fine:?}");
        }
    }

    #[test]
    fn an_error_for_a_missing_handler_file_lists_the_package() {
        let report = |files: &[(&str, &str)]| report_on(files, "index.handler", RUNTIME);
        assert_snapshot!(report(&[("dist/index.js", ""), ("a.js", ""), ("node_modules/indey.js", "")]), @r"
        handler `index.handler` matches no file in the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package contains `a.js`, `dist/index.js`
          hint: set `handler: dist/index.handler`, or rename the file
        ");
        assert_snapshot!(report(&[("Indx.mjs", ""), ("a.js", "")]), @r"
        handler `index.handler` matches no file in the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package contains `Indx.mjs`, `a.js`
          hint: set `handler: Indx.handler`, or rename the file
        ");
        assert_snapshot!(report(&[("index.ts", ""), ("a.txt", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]), @r"
        handler `index.handler` matches no file in the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package contains `a.txt`, `b`, `c`, `d`, `e` and 1 more
          hint: compile `index.ts` to JavaScript and set `code` to the result: this runtime doesn't support TypeScript
        ");
        assert_snapshot!(report(&[("main.py", "")]), @r"
        handler `index.handler` matches no file in the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package contains `main.py`
          hint: set `handler` to the file's path without extension, a dot, and the export
        ");
        assert_snapshot!(report_on(&[("index.js", "")], "index", RUNTIME), @r"
        handler `index` doesn't have the form `file.export`
          why: Lambda splits the handler at the first dot after the last slash, and rejects `..`
          hint: use `index.handler` for the export `handler` of `index.js` or `index.mjs`
        ");
        for elsewhere in ["index/index.js", "node_modules/index/main.js"] {
            assert_eq!(report(&[(elsewhere, "")]), "");
        }
        assert_eq!(report_on(&[("index.ts", "export const handler: Handler = 1")], "index.handler", "nodejs24.x"), "");
        assert_eq!(report_on(&[("a.js", "")], "/opt/nodejs/wrapper.handler", RUNTIME), "");
        assert_eq!(report_on(&[("a.py", "")], "a.handler", "python3.13"), "");
    }

    #[test]
    fn a_syntax_error_is_located_and_hides_what_follows_from_it() {
        assert_snapshot!(report_on(&[("index.js", "exports.h = 1;\nexports.handler = async (event => {\n")], "index.handler", RUNTIME), @r"
        `index.js` seems to have a syntax error near line 3
          why: if Node.js also reports it, every invocation fails with `Runtime.UserCodeSyntaxError`
          hint: run `node --check index.js`
        ");
    }

    proptest! {
        #[test]
        fn any_mix_of_tokens_is_read_without_a_panic(tokens in prop::collection::vec(
            prop::sample::select(vec![
                "export", "import", "default", "exports", "module", ".", "=", "{", "}", "(", ")", "[", "]", "*", "as",
                "from", "'h'", "h", ",", ";", "...", "require", "Object.defineProperty", "const", "=>", "\n", "\u{fc}", "`", "\\",
            ]), 0..40,
        )) {
            report_on(&[("index.js", &tokens.join(" ")), ("package.json", &tokens.join(""))], "index.handler", RUNTIME);
        }
    }
}
