//! Finds each place of the source that makes an error, with the texts that its problem and its hints can be.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use engine::aws::{AwsError, Class};
use syn::visit::{self, Visit};
use syn::{Arm, Block, Expr, Pat};

use super::syntax::{Index, arguments, ending, error_text, name, parsed, sources};
use super::texts::{Reader, Text};

/// An error and what is advised about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) said: String,
    pub(super) advice: Vec<String>,
}

/// What is found in a file.
#[derive(Debug)]
pub(super) struct Found {
    /// What the file is about, by the first sentence in it.
    pub(super) about: String,
    pub(super) rows: Vec<Row>,
    /// The functions that make an error of a text that can't be followed.
    pub(super) unread: BTreeSet<String>,
}

/// An error on its way: hints may follow.
pub(super) struct Made {
    said: Text,
    advice: Vec<Text>,
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
        let (rows, unread) = (merged(mem::take(&mut reader.made)), mem::take(&mut reader.unread));
        Found { about: first_sentence(file), rows, unread }
    };
    files.iter().enumerate().map(one).collect()
}

fn first_sentence(file: &syn::File) -> String {
    let lines = file.attrs.iter().filter_map(|attr| match &attr.meta {
        syn::Meta::NameValue(it) if it.path.is_ident("doc") => Some(literal(&it.value)?.trim().to_owned()),
        _ => None,
    });
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    text.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
}

fn literal(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
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
