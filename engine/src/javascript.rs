//! What the JavaScript of a package shows by its syntax alone: whether Lambda will find the
//! handler's file, load it as the module system it is written in, and find the export.
//!
//! **Invariant**: it reads the bytes it is given and nothing else, and calls certain only what no run of
//! the file could make right. Exports that are computed at run time cannot be known from syntax, so
//! whatever might make one counts as "may export anything".
//!
//! The lookup rules are those of Lambda's own loader, `UserFunction.js` in
//! github.com/aws/aws-lambda-nodejs-runtime-interface-client.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Node, Parser};

/// Something that makes every call of the function fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether syntax proves it, as long as no layer brings or wraps the handler.
    pub is_certain: bool,
    /// What is wrong.
    pub problem: String,
    /// The rule, or the observation, behind it.
    pub why: String,
    /// What to do next.
    pub hint: String,
}

/// Files above this size, in bytes, are not parsed: it would take more than a moment, and a bundle
/// this large was written by a tool that knows its exports.
const MAX_PARSED: usize = 1 << 20;

/// Splits a Node.js handler into its module, relative to the package and without an extension, and
/// the path of the function inside what the module exports: `src/index.api.handler` is `src/index`
/// and `api.handler`.
///
/// `None` if Lambda would refuse it as malformed, or if it is absolute and so names a file of a
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

/// Whether a source has top-level `import` or `export` statements, which no CommonJS file can have.
/// An ES module that has neither exports nothing, so it can't hold a handler.
pub fn is_module(source: &str) -> bool {
    Syntax::of(source.as_bytes()).is_some_and(|syntax| syntax.module.is_some())
}

/// What a finding of a suspected syntax error contains, and no other: Node.js decides about it where there is one.
pub const SUSPECTED: &str = "` seems to have a syntax error near line ";

/// The handler's file among `files` (name to content), and whether Lambda loads it as an ES module. `None` if it is missing
/// or no JavaScript, or if [`findings`] reports that it is written in the other module system.
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

/// Looks at the handler's file among `files` (name to content). Only for `nodejs` runtimes; for
/// others always empty.
pub fn findings(files: &BTreeMap<String, Vec<u8>>, handler: &str, runtime: &str) -> Vec<Finding> {
    let Some(version) = runtime.strip_prefix("nodejs") else {
        return Vec::new();
    };
    if handler.starts_with('/') {
        return Vec::new();
    }
    let Some((module, export)) = split_handler(handler) else {
        return vec![Finding {
            is_certain: true,
            problem: format!("handler `{handler}` is not of the form `file.export`"),
            why: "Lambda splits the handler at the first dot after the last slash, and refuses `..`".into(),
            hint: "write `index.handler` for the export `handler` of `index.js` or `index.mjs`".into(),
        }];
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

    let mut findings = Vec::new();
    if let Some(line) = syntax.error {
        // This parser may be older than the syntax.
        findings.push(Finding {
            is_certain: false,
            problem: format!("`{name}{SUSPECTED}{line}"),
            why: "if Node.js agrees, every call on AWS fails with `Runtime.UserCodeSyntaxError`".into(),
            hint: format!("run `node --check {name}`"),
        });
    }
    let mismatch = if is_loaded_as_module(files, &name) {
        commonjs_in_module(&name, &syntax)
    } else {
        module_in_commonjs(&name, &syntax)
    };
    // After a syntax error or in the wrong module system, a missing export is a consequence and not
    // the cause.
    if findings.is_empty() && mismatch.is_none() {
        findings.extend(missing_export(&name, &module, export, &syntax));
    }
    findings.extend(mismatch);
    findings
}

const JAVASCRIPT: [&str; 3] = [".js", ".mjs", ".cjs"];
const TYPESCRIPT: [&str; 3] = [".ts", ".mts", ".cts"];
/// The first Node.js version whose Lambda runtime loads TypeScript files.
const FIRST_WITH_TYPESCRIPT: u32 = 24;

/// The file Lambda loads for a module: first the one without an extension, then by the loader's
/// order of extensions.
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
) -> Option<Finding> {
    // The loader's last resort is Node's own resolution: a folder of that name, or an installed
    // package.
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
    let meant = modules
        .iter()
        .copied()
        .find(|candidate| file_of(candidate) == file_of(module))
        .or_else(|| nearest(module, modules.iter().copied()))
        .or(match modules.as_slice() {
            [only] => Some(*only),
            _ => None,
        });
    Some(Finding {
        is_certain: true,
        problem: format!("handler `{handler}` names no file of the package"),
        why: format!(
            "Lambda looks for `{module}.js`, `{module}.mjs` and `{module}.cjs`; the package holds {}",
            list(own())
        ),
        hint: match (source, meant) {
            (Some(source), _) if major < FIRST_WITH_TYPESCRIPT => {
                format!(
                    "compile `{source}` to JavaScript and point `code` at the result: this runtime \
                     does not run TypeScript"
                )
            }
            (_, Some(meant)) => format!("set `handler: {meant}.{export}`, or rename the file"),
            _ => "write `handler` as the file's path without extension, a dot, and the export".into(),
        },
    })
}

fn missing_export(name: &str, module: &str, export: &str, syntax: &Syntax) -> Option<Finding> {
    // `api.handler` is a property of the export `api`; what that holds is not looked at.
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
    Some(Finding {
        is_certain: true,
        problem: format!("`{name}` does not export `{wanted}`"),
        why: match exports().next() {
            Some(_) => format!("it exports {}", list(exports())),
            None => "it exports no names".into(),
        },
        hint: match nearest(wanted, exports()) {
            Some(meant) => format!("set `handler: {module}.{meant}`, or rename the export"),
            None => format!("write `{statement}` in it, or name another export in `handler`"),
        },
    })
}

fn module_in_commonjs(name: &str, syntax: &Syntax) -> Option<Finding> {
    let (line, keyword) = syntax.module?;
    let (why, stem) = match name.strip_suffix(".js") {
        Some(stem) => (
            "Lambda takes `.js` for CommonJS unless the nearest `package.json` says `\"type\": \"module\"`; \
             Node's detection by syntax, which may run it locally, is switched off there",
            stem,
        ),
        None => ("`.cjs` is always CommonJS", name.trim_end_matches(".cjs")),
    };
    Some(Finding {
        is_certain: true,
        problem: format!("`{name}` has an `{keyword}` statement on line {line}, but Lambda loads it as CommonJS"),
        why: why.into(),
        hint: format!("rename it to `{stem}.mjs`; the handler stays the same"),
    })
}

fn commonjs_in_module(name: &str, syntax: &Syntax) -> Option<Finding> {
    let (line, code) = syntax.commonjs.as_ref()?;
    let (rule, hint) = match name.strip_suffix(".mjs") {
        Some(stem) => ("`.mjs` is always an ES module", format!("rename it to `{stem}.js`")),
        None => (
            "the nearest `package.json` says `\"type\": \"module\"`",
            format!("rename it to `{}.cjs`", name.trim_end_matches(".js")),
        ),
    };
    // Something that ran before it may have made a global of that name.
    Some(Finding {
        is_certain: false,
        problem: format!("`{name}` uses `{code}` on line {line}, but Lambda loads it as an ES module"),
        why: format!("{rule}, and ES modules have no `require`, `module` or `exports`"),
        hint: format!("{hint}, or write it with `import` and `export`"),
    })
}

/// Whether Lambda loads a file as an ES module: `.mjs` always, `.js` if the nearest `package.json`
/// says so.
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

/// What one walk over a file's syntax tree collects. Lines count from 1.
#[derive(Default)]
struct Syntax {
    /// The first top-level `import` or `export` statement.
    module: Option<(usize, &'static str)>,
    /// The first use of CommonJS that surely runs when the file is loaded.
    commonjs: Option<(usize, String)>,
    error: Option<usize>,
    exports: BTreeSet<String>,
    /// Set when something may add exports that syntax doesn't show.
    exports_unknown: bool,
    /// The file declares a `require` of its own, usually by `createRequire`.
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
            // The parser gave up on the whole file, as it does when something is never closed.
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
                "module" if !is_only_looked_at(*parent, node) => self.exports_unknown = true,
                "eval" if is_field(*parent, "function", node) => self.exports_unknown = true,
                // Node.js calls the file itself with what it is made of.
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
                // An ES module has a `this` as well, which is nothing.
                self.commonjs = commonjs;
            }
            "shorthand_property_identifier" if matches!(source(node, text), "module" | "exports") => {
                self.exports_unknown = true;
            }
            "member_expression" if is_module_exports(node, text) => self.exports_object(node, ancestors, text),
            _ => {}
        }
    }

    /// Takes note of an export. One that is written with an escape, or stands for the prototype, may be any.
    fn export(&mut self, name: String) {
        self.exports_unknown |= name.contains('\\') || name == "__proto__";
        self.exports.insert(name);
    }

    /// `export …`: names, or everything that another module exports.
    fn export_statement(&mut self, node: Node, text: &[u8]) {
        for child in children(node) {
            match child.kind() {
                // Also hides the declaration's own name, which `export default` does not export.
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

    /// Judges one use of the object that CommonJS exports, `exports` or `module.exports`, by what
    /// stands around it. Any use but the plain ones may hand the object on to code that adds to it.
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
            // Taking something apart assigns as well, and so does a loop.
            "member_expression" | "subscript_expression"
                if outer.kind().ends_with("pattern")
                    || is_field(*outer, "left", *parent) && outer.kind().starts_with("for") =>
            {
                self.exports_unknown = true;
            }
            "member_expression" | "subscript_expression" => return,
            "unary_expression" => return,
            // What comes out of `exports && …` is what stands behind it.
            "binary_expression" if is_field(*parent, "left", node) && has_and(*parent) => return,
            "assignment_expression" if is_field(*parent, "left", node) => {
                // Assigning to `exports` alone only rebinds a local variable.
                if node.kind() == "member_expression" {
                    self.whole_exports(*parent, ancestors, text);
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

    /// `module.exports = …`, also as part of a chain of assignments.
    fn whole_exports(&mut self, assignment: Node, ancestors: &[Node], text: &[u8]) {
        // As in `const api = module.exports = {}`: the object has a second name, under which it may
        // grow.
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
        // As in `module.exports = api = {}`.
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
            // A bare function has no named exports: the usual slip of `module.exports = async
            // (event) => …`.
            Some(function) if matches!(function.kind(), "arrow_function" | "function_expression") => {}
            _ => self.exports_unknown = true,
        }
    }
}

/// Visits a node and all below it in source order, each with its ancestors. No recursion: generated
/// code nests deeply.
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

/// Where `this` is something else than the object that a CommonJS file exports.
const HAS_OWN_THIS: [&str; 6] = [
    "function_declaration",
    "function_expression",
    "generator_function",
    "generator_function_declaration",
    "method_definition",
    "class_body",
];

/// A parse error wraps its surroundings, so statements inside one count as top-level too.
fn is_top_level(ancestors: &[Node]) -> bool {
    ancestors.iter().all(|node| node.kind() == "program" || node.is_error())
}

/// Whether code surely runs when its file is loaded: inside no function, class, condition or `try`.
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

/// Whether a use of `module` hands it on to nobody: a member of it, a question what it is.
fn is_only_looked_at(parent: Node, node: Node) -> bool {
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

/// The name that an identifier or a string literal stands for; escapes stay as written.
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
            |finding: Finding| format!("{}\n  why: {}\n  hint: {}\n", finding.problem, finding.why, finding.hint);
        findings(&files, handler, runtime).into_iter().map(text).collect()
    }

    /// One line a source: what syntax shows of its exports, `?` for those it cannot show.
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
    fn common_js_exports_are_seen_and_computed_ones_are_unknown() {
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
    fn module_exports_are_seen_by_their_outer_name() {
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
        `index.js` does not export `handler`
          why: it exports `Handler`, `other`
          hint: set `handler: index.Handler`, or rename the export
        ");
        assert_snapshot!(report("module.exports = async () => {}"), @r"
        `index.js` does not export `handler`
          why: it exports no names
          hint: write `exports.handler = …` in it, or name another export in `handler`
        ");
        assert_snapshot!(report_on(&[("index.mjs", "export default 1")], "index.handler", RUNTIME), @r"
        `index.mjs` does not export `handler`
          why: it exports `default`
          hint: write `export const handler = …` in it, or name another export in `handler`
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
          why: Lambda takes `.js` for CommonJS unless the nearest `package.json` says `"type": "module"`; Node's detection by syntax, which may run it locally, is switched off there
          hint: rename it to `src/index.mjs`; the handler stays the same
        "#);
        assert_snapshot!(report(&[("src/index.cjs", "import 'fs'"), module]), @r"
        `src/index.cjs` has an `import` statement on line 1, but Lambda loads it as CommonJS
          why: `.cjs` is always CommonJS
          hint: rename it to `src/index.mjs`; the handler stays the same
        ");
        assert_snapshot!(report(&[("src/index.js", es), ("src/package.json", "{}"), module]), @r#"
        `src/index.js` has an `import` statement on line 1, but Lambda loads it as CommonJS
          why: Lambda takes `.js` for CommonJS unless the nearest `package.json` says `"type": "module"`; Node's detection by syntax, which may run it locally, is switched off there
          hint: rename it to `src/index.mjs`; the handler stays the same
        "#);
        assert_snapshot!(report(&[("src/index.mjs", common)]), @r"
        `src/index.mjs` uses `require` on line 2, but Lambda loads it as an ES module
          why: `.mjs` is always an ES module, and ES modules have no `require`, `module` or `exports`
          hint: rename it to `src/index.js`, or write it with `import` and `export`
        ");
        assert_snapshot!(report(&[("src/index.js", "exports.handler = 1"), module]), @r#"
        `src/index.js` uses `exports` on line 1, but Lambda loads it as an ES module
          why: the nearest `package.json` says `"type": "module"`, and ES modules have no `require`, `module` or `exports`
          hint: rename it to `src/index.cjs`, or write it with `import` and `export`
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
    fn a_handler_without_a_file_is_told_what_the_package_holds() {
        let report = |files: &[(&str, &str)]| report_on(files, "index.handler", RUNTIME);
        assert_snapshot!(report(&[("dist/index.js", ""), ("a.js", ""), ("node_modules/indey.js", "")]), @r"
        handler `index.handler` names no file of the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package holds `a.js`, `dist/index.js`
          hint: set `handler: dist/index.handler`, or rename the file
        ");
        assert_snapshot!(report(&[("Indx.mjs", ""), ("a.js", "")]), @r"
        handler `index.handler` names no file of the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package holds `Indx.mjs`, `a.js`
          hint: set `handler: Indx.handler`, or rename the file
        ");
        assert_snapshot!(report(&[("index.ts", ""), ("a.txt", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]), @r"
        handler `index.handler` names no file of the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package holds `a.txt`, `b`, `c`, `d`, `e` and 1 more
          hint: compile `index.ts` to JavaScript and point `code` at the result: this runtime does not run TypeScript
        ");
        assert_snapshot!(report(&[("main.py", "")]), @r"
        handler `index.handler` names no file of the package
          why: Lambda looks for `index.js`, `index.mjs` and `index.cjs`; the package holds `main.py`
          hint: write `handler` as the file's path without extension, a dot, and the export
        ");
        assert_snapshot!(report_on(&[("index.js", "")], "index", RUNTIME), @r"
        handler `index` is not of the form `file.export`
          why: Lambda splits the handler at the first dot after the last slash, and refuses `..`
          hint: write `index.handler` for the export `handler` of `index.js` or `index.mjs`
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
          why: if Node.js agrees, every call on AWS fails with `Runtime.UserCodeSyntaxError`
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
