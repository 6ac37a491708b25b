//! Reads the source as Rust: each place that makes an error, with the texts that its problem and its hints can be.
//!
//! A text is followed through `let`, `if`, `match`, closures and functions to the literals that it is made of; what only
//! a run knows is `…`.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use engine::aws::{AwsError, Class};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Arm, Attribute, Block, Expr, Item, Pat, Stmt, Token};

/// More than this many wordings of one text are shown as one, with `…` in the place of what differs.
const MAX_WORDINGS: usize = 16;
/// More ends of a sentence than this, as a function words them, are left out where the rest tells enough.
const MAX_ENDS: usize = 2;
/// Calls of functions and closures are followed this deep.
const MAX_DEPTH: usize = 4;

/// An error and what is advised about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) said: String,
    pub(super) advice: Vec<String>,
}

/// What is found in a file.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// The functions that make an error of a text that can't be followed.
    pub(super) unread: BTreeSet<String>,
}

/// One wording of a text, and which branches of the source it takes.
#[derive(Clone, Default)]
struct Text {
    words: String,
    /// An `if` or `match`, by its address, and the number of the branch.
    branches: Vec<(usize, usize)>,
    /// Whether a function has made it.
    is_called: bool,
}

impl Text {
    fn plain(words: impl Into<String>) -> Text {
        Text { words: words.into(), ..Text::default() }
    }

    /// Whether one run can say both.
    fn fits(&self, other: &Text) -> bool {
        let differs = |(at, branch): &(usize, usize)| other.branches.iter().any(|it| it.0 == *at && it.1 != *branch);
        !self.branches.iter().any(differs)
    }

    fn then(&self, more: &Text) -> Text {
        let words = format!("{}{}", self.words, more.words).replace("……", "…");
        let branches = [&self.branches[..], &more.branches].concat();
        Text { words, branches, is_called: self.is_called || more.is_called }
    }

    fn says_something(&self) -> bool {
        is_sentence(&self.words)
    }
}

fn is_sentence(text: &str) -> bool {
    text.chars().filter(|c| c.is_alphabetic()).count() > 2
}

/// What a name stands for.
#[derive(Clone, Default)]
struct Bound<'a> {
    value: Option<&'a Expr>,
    texts: Vec<Text>,
    /// The errors that were made for it.
    made: Range<usize>,
}

/// An error on its way: hints may follow.
struct Made {
    said: Text,
    advice: Vec<Text>,
}

/// A function that returns text.
#[derive(Clone)]
struct Function<'a> {
    parameters: Vec<&'a Pat>,
    block: &'a Block,
}

/// What can be looked up by name, with the file in which it stands.
#[derive(Default)]
struct Index<'a> {
    file: usize,
    constants: HashMap<String, Vec<(usize, &'a Expr)>>,
    /// Methods stand behind a dot.
    functions: HashMap<String, Vec<(usize, Function<'a>)>>,
    /// What an error's own function advises, by variant.
    remedies: HashMap<String, Vec<(usize, &'a Expr)>>,
    /// The field that is all that a variant says.
    fields: HashMap<String, String>,
}

struct Reader<'a> {
    index: Index<'a>,
    scopes: Vec<HashMap<String, Bound<'a>>>,
    made: Vec<Made>,
    function: String,
    unread: BTreeSet<String>,
    depth: usize,
}

/// The errors of each file, in their order.
pub(super) fn errors(root: &Path) -> Vec<(PathBuf, Found)> {
    let paths = sources(root);
    // They live as long as the test program.
    let files: &'static [syn::File] =
        paths.iter().map(|path| parsed(&fs::read_to_string(path).unwrap())).collect::<Vec<_>>().leak();
    paths.into_iter().zip(read(files)).collect()
}

/// The errors of one source.
pub(super) fn errors_in(source: &str) -> Found {
    read(vec![parsed(source)].leak()).remove(0)
}

fn read(files: &'static [syn::File]) -> Vec<Found> {
    let mut index = Index::default();
    for (at, file) in files.iter().enumerate() {
        index.file = at;
        index.visit_file(file);
    }
    let mut reader = Reader {
        index,
        scopes: Vec::new(),
        made: Vec::new(),
        function: String::new(),
        unread: BTreeSet::new(),
        depth: 0,
    };
    let one = |(at, file)| {
        reader.index.file = at;
        reader.visit_file(file);
        Found { rows: merged(mem::take(&mut reader.made)), unread: mem::take(&mut reader.unread) }
    };
    files.iter().enumerate().map(one).collect()
}

/// Each text once, with all that is advised about it somewhere.
fn merged(made: Vec<Made>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for Made { said, advice } in made {
        let at = rows.iter().position(|row| row.said == said.words).unwrap_or_else(|| {
            rows.push(Row { said: said.words.clone(), advice: Vec::new() });
            rows.len() - 1
        });
        for text in advice.into_iter().filter(|text| text.says_something() && text.fits(&said)) {
            if !rows[at].advice.contains(&text.words) {
                rows[at].advice.push(text.words);
            }
        }
    }
    rows
}

fn sources(folder: &Path) -> Vec<PathBuf> {
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
fn parsed(source: &str) -> syn::File {
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
fn arguments(call: &syn::Macro) -> &'static [Expr] {
    let parsed = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
    parsed.map_or(&[], |arguments| arguments.into_iter().collect::<Vec<_>>().leak())
}

fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// The last two words of a path: what is called, and on what.
fn ending(expr: &Expr) -> Option<(String, String)> {
    let Expr::Path(path) = expr else { return None };
    let mut words = path.path.segments.iter().rev().map(|segment| segment.ident.to_string());
    let last = words.next()?;
    Some((words.next().unwrap_or_default(), last))
}

/// A name that stands alone.
fn name(expr: &Expr) -> Option<String> {
    ending(expr).filter(|(owner, _)| owner.is_empty()).map(|(_, name)| name)
}

/// The text of `#[error("…")]`.
fn error_text(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|it| it.path().is_ident("error"))?;
    let first = attribute.meta.require_list().ok()?.tokens.clone().into_iter().next()?;
    syn::parse_str::<syn::LitStr>(&first.to_string()).ok().map(|text| text.value())
}

/// Whether a function returns text, as far as its signature shows.
fn returns_text(signature: &syn::Signature) -> bool {
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
enum Piece {
    Words(String),
    /// The name or number between braces.
    Filled(String),
}

fn pieces(format: &str) -> Vec<Piece> {
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
    fn find<T: Clone>(&self, named: &HashMap<String, Vec<(usize, T)>>, name: &str) -> Option<T> {
        let all = named.get(name)?;
        let (_, found) = all.iter().find(|(file, _)| *file == self.file).or(match &all[..] {
            [only] => Some(only),
            _ => None,
        })?;
        Some(found.clone())
    }
}

/// The arms of `match self`, by variant.
struct ArmsOfSelf<'a>(Vec<(String, &'a Expr)>);

impl<'a> Visit<'a> for ArmsOfSelf<'a> {
    fn visit_expr_match(&mut self, choice: &'a syn::ExprMatch) {
        if name(&choice.expr).is_some_and(|it| it == "self") {
            self.0.extend(
                choice.arms.iter().flat_map(|arm| variants(&arm.pat).into_iter().map(|variant| (variant, &*arm.body))),
            );
        }
    }
}

fn variants(pattern: &Pat) -> Vec<String> {
    let last = |path: &syn::Path| path.segments.last().map(|it| it.ident.to_string());
    match pattern {
        Pat::Or(either) => either.cases.iter().flat_map(variants).collect(),
        Pat::TupleStruct(it) => last(&it.path).into_iter().collect(),
        Pat::Struct(it) => last(&it.path).into_iter().collect(),
        Pat::Path(it) => last(&it.path).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Reading texts.
impl<'a> Reader<'a> {
    fn bound(&mut self, name: &str) -> Option<&mut Bound<'a>> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }

    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(HashMap::new());
        let read = read(self);
        self.scopes.pop();
        read
    }

    /// Binds what a pattern names to what it is made of, as far as that is told; `made`: the errors that were made there.
    fn bind(&mut self, pattern: &'a Pat, value: Option<&'a Expr>, made: Range<usize>) {
        self.bind_part(pattern, value, None, made);
    }

    fn bind_part(&mut self, pattern: &'a Pat, value: Option<&'a Expr>, part: Option<usize>, made: Range<usize>) {
        match pattern {
            Pat::Ident(it) => {
                let texts = value.map_or_else(Vec::new, |value| self.texts_of(value, part));
                let bound = Bound { value, texts, made };
                self.scopes.last_mut().unwrap().insert(it.ident.to_string(), bound);
            }
            Pat::Type(it) => self.bind_part(&it.pat, value, part, made),
            Pat::Reference(it) => self.bind_part(&it.pat, value, part, made),
            Pat::Tuple(it) => {
                for (at, element) in it.elems.iter().enumerate() {
                    self.bind_part(element, value, Some(at), made.clone());
                }
            }
            Pat::TupleStruct(it) => {
                let holds_it = it.path.is_ident("Some") || it.path.is_ident("Ok");
                for element in &it.elems {
                    self.bind_part(element, value.filter(|_| holds_it), part, made.clone());
                }
            }
            Pat::Struct(it) => {
                it.fields.iter().for_each(|field| self.bind_part(&field.pat, None, None, made.clone()));
            }
            Pat::Or(it) => it.cases.iter().for_each(|case| self.bind_part(case, None, None, made.clone())),
            Pat::Slice(it) => it.elems.iter().for_each(|element| self.bind_part(element, None, None, made.clone())),
            _ => {}
        }
    }

    fn texts(&mut self, expr: &'a Expr) -> Vec<Text> {
        self.texts_of(expr, None)
    }

    /// The wordings of a text; `part`: of that part of a tuple.
    fn texts_of(&mut self, expr: &'a Expr, part: Option<usize>) -> Vec<Text> {
        match expr {
            Expr::Lit(_) => literal(expr).map(Text::plain).into_iter().collect(),
            Expr::Macro(call) if call.mac.path.is_ident("format") => match arguments(&call.mac) {
                [format, arguments @ ..] => self.filled(&literal(format).unwrap_or_default(), arguments),
                [] => Vec::new(),
            },
            Expr::Paren(it) => self.texts_of(&it.expr, part),
            Expr::Group(it) => self.texts_of(&it.expr, part),
            Expr::Reference(it) => self.texts_of(&it.expr, part),
            Expr::Try(it) => self.texts_of(&it.expr, part),
            Expr::Return(it) => it.expr.as_ref().map_or_else(Vec::new, |it| self.texts_of(it, part)),
            Expr::Block(it) => self.texts_of_block(&it.block, part),
            Expr::Tuple(it) => match part.and_then(|part| it.elems.get(part)) {
                Some(element) => self.texts(element),
                None => Vec::new(),
            },
            Expr::If(it) => {
                let then = self.within(|reader| {
                    reader.bind_condition(&it.cond);
                    reader.texts_of_block(&it.then_branch, part)
                });
                let otherwise = it.else_branch.as_ref().map_or_else(Vec::new, |(_, it)| self.texts_of(it, part));
                branches(expr, [then, otherwise])
            }
            Expr::Match(it) => {
                let arms: Vec<_> = it
                    .arms
                    .iter()
                    .map(|arm| {
                        self.within(|reader| {
                            reader.bind(&arm.pat, Some(&it.expr), 0..0);
                            reader.texts_of(&arm.body, part)
                        })
                    })
                    .collect();
                branches(expr, arms)
            }
            Expr::Closure(it) => self.within(|reader| {
                it.inputs.iter().for_each(|input| reader.bind(input, None, 0..0));
                reader.texts_of(&it.body, part)
            }),
            Expr::Path(_) => match name(expr) {
                Some(name) => self.named(&name),
                None => Vec::new(),
            },
            Expr::Call(call) => self.texts_of_call(call, part),
            Expr::MethodCall(call) => self.texts_of_method(call, part),
            _ => Vec::new(),
        }
    }

    fn named(&mut self, name: &str) -> Vec<Text> {
        if let Some(bound) = self.bound(name) {
            return bound.texts.clone();
        }
        self.index.find(&self.index.constants, name).map_or_else(Vec::new, |value| self.texts(value))
    }

    /// What a block ends with, and what it returns before.
    fn texts_of_block(&mut self, block: &'a Block, part: Option<usize>) -> Vec<Text> {
        self.within(|reader| {
            let mut ends = Vec::new();
            for statement in &block.stmts {
                match statement {
                    Stmt::Local(local) => reader.bind(&local.pat, local.init.as_ref().map(|it| &*it.expr), 0..0),
                    Stmt::Expr(expr, None) => ends.push(reader.texts_of(expr, part)),
                    Stmt::Expr(expr, Some(_)) => {
                        let mut returns = Returns(Vec::new());
                        returns.visit_expr(expr);
                        ends.extend(returns.0.into_iter().map(|it| reader.texts_of(it, part)));
                    }
                    Stmt::Item(_) | Stmt::Macro(_) => {}
                }
            }
            branches(block, ends)
        })
    }

    fn texts_of_call(&mut self, call: &'a syn::ExprCall, part: Option<usize>) -> Vec<Text> {
        let Some((owner, function)) = ending(&call.func) else { return Vec::new() };
        if matches!((&*owner, &*function), ("", "Some" | "Ok" | "Err") | ("String" | "Cow" | "Box", "from" | "new")) {
            return call.args.first().map_or_else(Vec::new, |it| self.texts_of(it, part));
        }
        let arguments: Vec<Vec<Text>> = call.args.iter().map(|it| self.texts(it)).collect();
        let closure = self.bound(&function).and_then(|bound| bound.value).filter(|_| owner.is_empty());
        if let Some(Expr::Closure(closure)) = closure {
            let parameters: Vec<&Pat> = closure.inputs.iter().collect();
            return self.called(&parameters, arguments, |reader| reader.texts_of(&closure.body, part));
        }
        self.texts_of_function(&function, arguments, part)
    }

    fn texts_of_function(&mut self, name: &str, arguments: Vec<Vec<Text>>, part: Option<usize>) -> Vec<Text> {
        let Some(function) = self.index.find(&self.index.functions, name) else { return Vec::new() };
        // What stands around the call means nothing within.
        let around = mem::take(&mut self.scopes);
        let texts = self.called(&function.parameters, arguments, |reader| reader.texts_of_block(function.block, part));
        self.scopes = around;
        texts.into_iter().map(|text| Text { is_called: true, ..text }).collect()
    }

    /// Reads the body of what is called, with its parameters bound.
    fn called<T: Default>(
        &mut self,
        parameters: &[&'a Pat],
        arguments: Vec<Vec<Text>>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if self.depth == MAX_DEPTH {
            return T::default();
        }
        self.depth += 1;
        let read = self.within(|reader| {
            let mut arguments = arguments.into_iter();
            for parameter in parameters {
                reader.bind(parameter, None, 0..0);
                let texts = arguments.next().unwrap_or_default();
                let parameter = if let Pat::Type(typed) = parameter { &typed.pat } else { *parameter };
                if let Pat::Ident(it) = parameter {
                    reader.scopes.last_mut().unwrap().entry(it.ident.to_string()).or_default().texts = texts;
                }
            }
            read(reader)
        });
        self.depth -= 1;
        read
    }

    fn texts_of_method(&mut self, call: &'a syn::ExprMethodCall, part: Option<usize>) -> Vec<Text> {
        let method = call.method.to_string();
        let mut texts = Vec::new();
        match method.as_str() {
            "to_owned" | "to_string" | "into" | "clone" | "as_str" | "as_deref" | "unwrap_or_default" | "filter" => {
                texts.extend(self.texts_of(&call.receiver, part));
            }
            "unwrap_or" => {
                let known = self.texts_of(&call.receiver, part);
                texts.extend(if known.is_empty() { vec![Text::plain("…")] } else { known });
                texts.extend(call.args.iter().flat_map(|it| self.texts_of(it, part)));
            }
            "unwrap_or_else" | "or" | "or_else" | "ok_or" | "ok_or_else" => {
                texts.extend(self.texts_of(&call.receiver, part));
                texts.extend(call.args.iter().flat_map(|it| self.texts_of(it, part)));
            }
            "map" | "and_then" | "map_or" | "map_or_else" | "then" | "then_some" | "find_map" => {
                texts.extend(call.args.iter().flat_map(|it| self.texts_of(it, part)));
            }
            _ => {
                let arguments = call.args.iter().map(|it| self.texts(it)).collect();
                texts.extend(self.texts_of_function(&format!(".{method}"), arguments, part));
            }
        }
        texts
    }

    /// A format string with what is known of its arguments.
    fn filled(&mut self, format: &str, arguments: &'a [Expr]) -> Vec<Text> {
        let pieces = pieces(format);
        let says_something = pieces.iter().any(|piece| matches!(piece, Piece::Words(words) if is_sentence(words)));
        let mut texts = vec![Text::default()];
        let mut place = 0;
        for piece in pieces {
            let wordings = match piece {
                Piece::Words(words) => vec![Text::plain(words)],
                Piece::Filled(filled) => {
                    let named =
                        |it: &&Expr| matches!(it, Expr::Assign(it) if name(&it.left).is_some_and(|it| it == filled));
                    let argument = match filled.parse::<usize>() {
                        Ok(at) => arguments.get(at),
                        Err(_) if filled.is_empty() => {
                            place += 1;
                            arguments.get(place - 1)
                        }
                        Err(_) => arguments.iter().find(named),
                    };
                    match argument {
                        Some(Expr::Assign(argument)) => self.texts(&argument.right),
                        Some(argument) => self.texts(argument),
                        None => self.named(&filled),
                    }
                }
            };
            let joined = |wordings: &[Text]| -> Vec<Text> {
                let pairs = texts.iter().flat_map(|text| wordings.iter().map(move |more| (text, more)));
                pairs.filter(|(text, more)| text.fits(more)).map(|(text, more)| text.then(more)).collect()
            };
            let all = joined(&wordings);
            let is_end = says_something && wordings.len() > MAX_ENDS && wordings.iter().any(|it| it.is_called);
            let is_known = !is_end && (1..=MAX_WORDINGS).contains(&all.len());
            texts = if is_known { all } else { joined(&[Text::plain("…")]) };
        }
        texts
    }

    fn bind_condition(&mut self, condition: &'a Expr) {
        match condition {
            Expr::Let(it) => self.bind(&it.pat, Some(&it.expr), 0..0),
            Expr::Binary(it) => {
                self.bind_condition(&it.left);
                self.bind_condition(&it.right);
            }
            _ => {}
        }
    }

    fn class(&mut self, expr: &'a Expr) -> Option<String> {
        match ending(expr)? {
            (owner, class) if owner == "Class" => Some(class),
            (_, name) => {
                let bound = self.bound(&name)?;
                bound.texts.first().map(|it| it.words.clone())
            }
        }
    }
}

/// Marks the texts of each branch.
fn branches<T>(at: &T, all: impl IntoIterator<Item = Vec<Text>>) -> Vec<Text> {
    let at = std::ptr::from_ref(at) as usize;
    let marked = |(number, texts): (usize, Vec<Text>)| {
        texts.into_iter().map(move |mut text| {
            text.branches.push((at, number));
            text
        })
    };
    all.into_iter().enumerate().flat_map(marked).collect()
}

/// What is returned from within an expression.
struct Returns<'a>(Vec<&'a Expr>);

impl<'a> Visit<'a> for Returns<'a> {
    fn visit_expr_return(&mut self, it: &'a syn::ExprReturn) {
        self.0.extend(it.expr.as_deref());
    }

    fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
}

/// Finding errors.
impl<'a> Reader<'a> {
    fn make(&mut self, said: &'a Expr, advice: Option<&'a Expr>) {
        let advice = advice.map_or_else(Vec::new, |it| self.texts(it));
        for said in self.said(said) {
            self.made.push(Made { said, advice: advice.clone() });
        }
    }

    /// What is handed on as two texts, where that is what the pair is.
    fn make_of_pair(&mut self, pair: &'a syn::ExprTuple) {
        if let [said, advice] = &pair.elems.iter().collect::<Vec<_>>()[..] {
            let advice: Vec<Text> = self.texts(advice).into_iter().filter(Text::says_something).collect();
            for said in self.texts(said).into_iter().filter(|said| said.says_something() && !advice.is_empty()) {
                self.made.push(Made { said, advice: advice.clone() });
            }
        }
    }

    fn said(&mut self, expr: &'a Expr) -> Vec<Text> {
        let said: Vec<Text> = self.texts(expr).into_iter().filter(Text::says_something).collect();
        if said.is_empty() {
            self.unread.insert(self.function.clone());
        }
        said
    }

    /// An error of a class, for which the catalogue of causes has the advice.
    fn make_of_class(&mut self, class: Option<String>, said: &'a Expr) {
        let class = class.and_then(|name| Class::ALL.iter().copied().find(|it| format!("{it:?}") == name));
        for said in self.said(said) {
            let advice = class.map(|class| {
                let error = AwsError::own(class, "", "", said.words.clone());
                Text::plain(format!("{} (`{}`)", error.hint(), error.cause().name()))
            });
            self.made.push(Made { said, advice: advice.into_iter().collect() });
        }
    }

    fn make_of_variant(&mut self, variant: &str, said: Vec<Text>) {
        let remedy = self.index.find(&self.index.remedies, variant);
        let advice = remedy.map_or_else(Vec::new, |it| self.texts(it));
        self.made.extend(said.into_iter().map(|said| Made { said, advice: advice.clone() }));
    }

    /// The errors that an expression stands for, which was read from `start` on: new ones, or what it names.
    fn made_by(&mut self, expr: &Expr, start: usize) -> Range<usize> {
        struct Names(Vec<String>);
        impl Visit<'_> for Names {
            fn visit_path(&mut self, path: &syn::Path) {
                self.0.extend(path.get_ident().map(ToString::to_string));
            }
        }
        if start < self.made.len() {
            return start..self.made.len();
        }
        let mut names = Names(Vec::new());
        names.visit_expr(expr);
        let made = names.0.iter().map(|name| self.bound(name).map_or(0..0, |it| it.made.clone()));
        made.into_iter().find(|made| !made.is_empty()).unwrap_or_default()
    }

    /// Reads the body of a closure where it is named.
    fn inline(&mut self, closure: &'a syn::ExprClosure, arguments: Vec<Vec<Text>>) {
        let parameters: Vec<&Pat> = closure.inputs.iter().collect();
        self.called(&parameters, arguments, |reader| reader.visit_expr(&closure.body));
    }

    /// What an argument says: its text, or the class that it names.
    fn given(&mut self, argument: &'a Expr) -> Vec<Text> {
        match ending(argument) {
            Some((owner, class)) if owner == "Class" => vec![Text::plain(class)],
            _ => self.texts(argument),
        }
    }

    fn closure(&mut self, expr: &Expr) -> Option<&'a syn::ExprClosure> {
        match self.bound(&name(expr)?)?.value? {
            Expr::Closure(closure) => Some(closure),
            _ => None,
        }
    }

    fn function(&mut self, signature: &'a syn::Signature, block: &'a Block) {
        let around = mem::take(&mut self.scopes);
        self.function = signature.ident.to_string();
        self.within(|reader| {
            for input in &signature.inputs {
                if let syn::FnArg::Typed(typed) = input {
                    reader.bind(&typed.pat, None, 0..0);
                }
            }
            reader.visit_block(block);
        });
        self.scopes = around;
    }
}

impl<'a> Visit<'a> for Reader<'a> {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        for variant in &item.variants {
            let Some(text) = error_text(&variant.attrs) else { continue };
            let said = self.within(|reader| reader.filled(&text, &[]));
            let said = said.into_iter().filter(Text::says_something).collect();
            self.make_of_variant(&variant.ident.to_string(), said);
        }
    }

    fn visit_block(&mut self, block: &'a Block) {
        self.within(|reader| visit::visit_block(reader, block));
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        let start = self.made.len();
        let Some(init) = &local.init else { return self.bind(&local.pat, None, 0..0) };
        // A closure is read where it is used, with what it is given there.
        if !matches!(*init.expr, Expr::Closure(_)) {
            self.visit_expr(&init.expr);
        }
        let made = self.made_by(&init.expr, start);
        if let Some((_, otherwise)) = &init.diverge {
            self.visit_expr(otherwise);
        }
        self.bind(&local.pat, Some(&init.expr), made);
    }

    fn visit_arm(&mut self, arm: &'a Arm) {
        self.within(|reader| {
            reader.bind(&arm.pat, None, 0..0);
            visit::visit_arm(reader, arm);
        });
    }

    fn visit_expr_if(&mut self, it: &'a syn::ExprIf) {
        self.within(|reader| {
            reader.bind_condition(&it.cond);
            visit::visit_expr_if(reader, it);
        });
    }

    fn visit_expr_closure(&mut self, closure: &'a syn::ExprClosure) {
        self.within(|reader| {
            closure.inputs.iter().for_each(|input| reader.bind(input, None, 0..0));
            reader.visit_expr(&closure.body);
        });
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        let arguments = arguments(call);
        arguments.iter().for_each(|argument| self.visit_expr(argument));
        let words = call.tokens.to_string();
        if arguments.is_empty()
            && ["AwsError :: own", "Diagnostic :: error", "Diagnostic :: warning", "Failure :: usage"]
                .iter()
                .any(|it| words.contains(it))
        {
            self.unread.insert(self.function.clone());
        }
    }

    fn visit_expr_path(&mut self, path: &'a syn::ExprPath) {
        let alone = path.path.get_ident().map(ToString::to_string);
        if let Some(Expr::Closure(closure)) = alone.and_then(|name| self.bound(&name)?.value) {
            self.inline(closure, Vec::new());
        }
    }

    fn visit_expr_assign(&mut self, it: &'a syn::ExprAssign) {
        let start = self.made.len();
        self.visit_expr(&it.right);
        let made = self.made_by(&it.right, start);
        if let Some(bound) = name(&it.left).and_then(|name| self.bound(&name)) {
            bound.made = made;
        }
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        let arguments: Vec<&Expr> = call.args.iter().collect();
        let (owner, function) = ending(&call.func).unwrap_or_default();
        match (&*owner, &*function, &arguments[..]) {
            ("Diagnostic", "error" | "warning", [said]) => self.make(said, None),
            ("Failure", "usage", [said, advice]) => self.make(said, Some(advice)),
            ("Problem", "error", [_, said, advice]) => self.make(said, Some(advice)),
            ("", "refused", [row, said, advice]) if name(row).is_some_and(|it| it == "row") => {
                self.make(said, Some(advice));
            }
            ("Standing", "Refused", [said, advice]) => self.make(said, Some(advice)),
            ("AwsError", "own", [class, _, _, said]) => {
                let class = self.class(class);
                self.make_of_class(class, said);
            }
            ("AwsError", "defect", [said]) => self.make_of_class(Some("Defect".to_owned()), said),
            ("", "Err", [Expr::Tuple(pair)]) => self.make_of_pair(pair),
            ("", "Refusal", [said]) => self.make_of_class(Some("Guarded".to_owned()), said),
            _ => {}
        }
        arguments.iter().for_each(|argument| self.visit_expr(argument));
        match self.closure(&call.func) {
            Some(closure) => {
                let given = arguments.iter().map(|argument| self.given(argument)).collect();
                self.inline(closure, given);
            }
            None => self.visit_expr(&call.func),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let start = self.made.len();
        self.visit_expr(&call.receiver);
        let arguments: Vec<&Expr> = call.args.iter().collect();
        match (&*call.method.to_string(), &arguments[..]) {
            ("hint", [advice]) => {
                let advice = self.texts(advice);
                for at in self.made_by(&call.receiver, start) {
                    self.made[at].advice.extend(advice.iter().cloned());
                }
            }
            ("error", [_, said, advice]) => self.make(said, Some(advice)),
            ("push", [Expr::Tuple(pair)]) => self.make_of_pair(pair),
            _ => {}
        }
        arguments.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_expr_struct(&mut self, it: &'a syn::ExprStruct) {
        let field = |wanted: &str| {
            let is_named =
                |field: &&syn::FieldValue| matches!(&field.member, syn::Member::Named(name) if name == wanted);
            it.fields.iter().find(is_named).map(|field| &field.expr)
        };
        if let Some(said) = field("problem") {
            self.make(said, field("hint"));
        }
        if let (Some(class), Some(said)) = (field("class"), field("message"))
            && let Some(class) = self.class(class)
        {
            self.make_of_class(Some(class), said);
        }
        let variant = it.path.segments.last().map(|it| it.ident.to_string()).unwrap_or_default();
        let told = self.index.fields.get(&variant).and_then(|name| field(name));
        if let Some(told) = told {
            let said = self.texts(told);
            self.make_of_variant(&variant, said);
        }
        visit::visit_expr_struct(self, it);
    }
}
