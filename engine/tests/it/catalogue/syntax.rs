//! The source as a syntax tree, and what of it can be looked up by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, Item, Pat, Token};

/// A function that returns text.
#[derive(Clone)]
pub(super) struct Function<'a> {
    pub(super) parameters: Vec<&'a Pat>,
    pub(super) block: &'a Block,
}

/// What can be looked up by name, with the file in which it stands.
#[derive(Default)]
pub(super) struct Index<'a> {
    pub(super) file: usize,
    pub(super) constants: HashMap<String, Vec<(usize, &'a Expr)>>,
    /// Methods stand behind a dot.
    pub(super) functions: HashMap<String, Vec<(usize, Function<'a>)>>,
    /// What an error's own function advises, by variant.
    pub(super) remedies: HashMap<String, Vec<(usize, &'a Expr)>>,
    /// The field that is all that a variant says.
    pub(super) fields: HashMap<String, String>,
}

impl<'a> Visit<'a> for Index<'a> {
    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        self.constants.entry(item.ident.to_string()).or_default().push((self.file, &item.expr));
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        for variant in &item.variants {
            if let [Piece::Words(_), Piece::Filled(field), Piece::Words(after)] =
                &pieces(&error_text(&variant.attrs).unwrap_or_default())[..]
                && after.is_empty()
            {
                self.fields.insert(variant.ident.to_string(), field.clone());
            }
        }
    }
}

impl<'a> Index<'a> {
    fn function(&mut self, signature: &'a syn::Signature, block: &'a Block) {
        let name = signature.ident.to_string();
        if matches!(name.as_str(), "hint" | "remedy") {
            let mut arms = ArmsOfSelf(Vec::new());
            arms.visit_block(block);
            for (variant, body) in arms.0 {
                self.remedies.entry(variant).or_default().push((self.file, body));
            }
        }
        if returns_text(signature) {
            let typed = |input: &'a syn::FnArg| match input {
                syn::FnArg::Typed(typed) => Some(&*typed.pat),
                syn::FnArg::Receiver(_) => None,
            };
            let parameters = signature.inputs.iter().filter_map(typed).collect();
            let name = if signature.receiver().is_some() { format!(".{name}") } else { name };
            self.functions.entry(name).or_default().push((self.file, Function { parameters, block }));
        }
    }

    /// The one in the same file, or else the only one.
    pub(super) fn find<T: Clone>(&self, named: &HashMap<String, Vec<(usize, T)>>, name: &str) -> Option<T> {
        let all = named.get(name)?;
        let (_, found) = all.iter().find(|(file, _)| *file == self.file).or(match &all[..] {
            [only] => Some(only),
            _ => None,
        })?;
        Some(found.clone())
    }
}

/// The arms of `match self`, by variant.
pub(super) struct ArmsOfSelf<'a>(Vec<(String, &'a Expr)>);

impl<'a> Visit<'a> for ArmsOfSelf<'a> {
    fn visit_expr_match(&mut self, choice: &'a syn::ExprMatch) {
        if name(&choice.expr).is_some_and(|it| it == "self") {
            self.0.extend(
                choice.arms.iter().flat_map(|arm| variants(&arm.pat).into_iter().map(|variant| (variant, &*arm.body))),
            );
        }
    }
}

pub(super) fn variants(pattern: &Pat) -> Vec<String> {
    let last = |path: &syn::Path| path.segments.last().map(|it| it.ident.to_string());
    match pattern {
        Pat::Or(either) => either.cases.iter().flat_map(variants).collect(),
        Pat::TupleStruct(it) => last(&it.path).into_iter().collect(),
        Pat::Struct(it) => last(&it.path).into_iter().collect(),
        Pat::Path(it) => last(&it.path).into_iter().collect(),
        _ => Vec::new(),
    }
}

pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// A file without its tests.
pub(super) fn parsed(source: &str) -> syn::File {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|it| it.is_ident("test"))
    };
    let mut file = syn::parse_file(source).unwrap();
    file.items.retain(|item| match item {
        Item::Mod(it) => !it.attrs.iter().any(is_test),
        Item::Fn(it) => !it.attrs.iter().any(is_test),
        Item::Impl(it) => !it.attrs.iter().any(is_test),
        _ => true,
    });
    file
}

/// What a macro that takes expressions is given.
pub(super) fn arguments(call: &syn::Macro) -> &'static [Expr] {
    let parsed = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
    parsed.map_or(&[], |arguments| arguments.into_iter().collect::<Vec<_>>().leak())
}

pub(super) fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// The last two words of a path: what is called, and on what.
pub(super) fn ending(expr: &Expr) -> Option<(String, String)> {
    let Expr::Path(path) = expr else { return None };
    let mut words = path.path.segments.iter().rev().map(|segment| segment.ident.to_string());
    let last = words.next()?;
    Some((words.next().unwrap_or_default(), last))
}

/// A name that stands alone.
pub(super) fn name(expr: &Expr) -> Option<String> {
    ending(expr).filter(|(owner, _)| owner.is_empty()).map(|(_, name)| name)
}

/// The text of `#[error("…")]`.
pub(super) fn error_text(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|it| it.path().is_ident("error"))?;
    let first = attribute.meta.require_list().ok()?.tokens.clone().into_iter().next()?;
    syn::parse_str::<syn::LitStr>(&first.to_string()).ok().map(|text| text.value())
}

/// Whether a function returns text, as far as its signature shows.
pub(super) fn returns_text(signature: &syn::Signature) -> bool {
    struct Words(bool);
    impl Visit<'_> for Words {
        fn visit_ident(&mut self, word: &syn::Ident) {
            self.0 |= word == "str" || word == "String";
        }
    }
    let mut words = Words(false);
    words.visit_return_type(&signature.output);
    words.0
}

/// A piece of a format string.
pub(super) enum Piece {
    Words(String),
    /// The name or number between braces.
    Filled(String),
}

pub(super) fn pieces(format: &str) -> Vec<Piece> {
    let (mut pieces, mut words, mut rest) = (Vec::new(), String::new(), format);
    while let Some(at) = rest.find(['{', '}']) {
        words.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(literal) = rest.strip_prefix(brace) {
            words.push_str(brace);
            rest = literal;
        } else if let Some((filled, after)) = rest.split_once('}') {
            pieces.push(Piece::Words(mem::take(&mut words)));
            pieces.push(Piece::Filled(filled.split(':').next().unwrap_or_default().to_owned()));
            rest = after;
        }
    }
    words.push_str(rest);
    pieces.push(Piece::Words(words));
    pieces
}
