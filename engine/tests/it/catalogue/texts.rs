//! Follows a text through `let`, `if`, `match`, closures and functions to the literals that it is made of; what only a run
//! knows is `…`.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::ops::Range;

use syn::visit::Visit;
use syn::{Block, Expr, Pat, Stmt};

use super::reading::Made;
use super::syntax::{Index, Piece, arguments, ending, literal, name, pieces};

/// More than this many wordings of one text are shown as one, with `…` in the place of what differs.
const MAX_WORDINGS: usize = 16;
/// More ends of a sentence than this, as a function words them, are left out where the rest tells enough.
const MAX_ENDS: usize = 2;
/// Calls of functions and closures are followed this deep.
const MAX_DEPTH: usize = 4;

/// One wording of a text, and which branches of the source it takes.
#[derive(Clone, Default)]
pub(super) struct Text {
    pub(super) words: String,
    /// An `if` or `match`, by its address, and the number of the branch.
    branches: Vec<(usize, usize)>,
    /// Whether a function has made it.
    is_called: bool,
}

impl Text {
    pub(super) fn plain(words: impl Into<String>) -> Text {
        Text { words: words.into(), ..Text::default() }
    }

    /// Whether one run can say both.
    pub(super) fn fits(&self, other: &Text) -> bool {
        let differs = |(at, branch): &(usize, usize)| other.branches.iter().any(|it| it.0 == *at && it.1 != *branch);
        !self.branches.iter().any(differs)
    }

    fn then(&self, more: &Text) -> Text {
        let words = format!("{}{}", self.words, more.words).replace("……", "…");
        let branches = [&self.branches[..], &more.branches].concat();
        Text { words, branches, is_called: self.is_called || more.is_called }
    }

    pub(super) fn says_something(&self) -> bool {
        is_sentence(&self.words)
    }
}

fn is_sentence(text: &str) -> bool {
    text.chars().filter(|c| c.is_alphabetic()).count() > 2
}

/// What a name stands for.
#[derive(Clone, Default)]
pub(super) struct Bound<'a> {
    pub(super) value: Option<&'a Expr>,
    texts: Vec<Text>,
    /// The errors that were made for it.
    pub(super) made: Range<usize>,
}

/// Goes through the source with what is known at each place.
pub(super) struct Reader<'a> {
    pub(super) index: Index<'a>,
    /// The names in sight, the innermost last.
    pub(super) scopes: Vec<HashMap<String, Bound<'a>>>,
    pub(super) made: Vec<Made>,
    /// Where it is.
    pub(super) function: String,
    /// Functions with an error whose text can't be followed.
    pub(super) unread: BTreeSet<String>,
    /// How many calls are being followed.
    pub(super) depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn bound(&mut self, name: &str) -> Option<&mut Bound<'a>> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }

    pub(super) fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(HashMap::new());
        let read = read(self);
        self.scopes.pop();
        read
    }

    /// Binds what a pattern names to what it is made of, as far as that is told; `made`: the errors that were made there.
    pub(super) fn bind(&mut self, pattern: &'a Pat, value: Option<&'a Expr>, made: Range<usize>) {
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

    pub(super) fn texts(&mut self, expr: &'a Expr) -> Vec<Text> {
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
    pub(super) fn called<T: Default>(
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
    pub(super) fn filled(&mut self, format: &str, arguments: &'a [Expr]) -> Vec<Text> {
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

    pub(super) fn bind_condition(&mut self, condition: &'a Expr) {
        match condition {
            Expr::Let(it) => self.bind(&it.pat, Some(&it.expr), 0..0),
            Expr::Binary(it) => {
                self.bind_condition(&it.left);
                self.bind_condition(&it.right);
            }
            _ => {}
        }
    }

    pub(super) fn class(&mut self, expr: &'a Expr) -> Option<String> {
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
