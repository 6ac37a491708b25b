//! Exports and outputs of CloudFormation stacks
//! (docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListExports.html,
//! …/API_DescribeStacks.html).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use engine_core::lookup::{LookupAnswer, LookupRead};
use futures_util::future::join_all;

use crate::answer::{AwsError, Existing};
use crate::connect::{Answers, Input};
use crate::value::Value;

use super::{LookupResult, STACKS, garbled, unusable};

const LIST: &str = "ListExports";
const DESCRIBE: &str = "DescribeStacks";

/// Stacks and exports that the runs of a connection share: AWS allows few of these calls.
#[derive(Debug, Default)]
pub(crate) struct SharedStacks {
    /// All exports by name.
    exports: Answers<Arc<BTreeMap<String, String>>>,
    /// By name; `None` if there is no such stack.
    stacks: Answers<Option<Arc<Stack>>>,
}

/// A stack's state and outputs.
#[derive(Default)]
struct Stack {
    status: String,
    outputs: BTreeMap<String, String>,
}

/// Stack and output of `STACK.OUTPUT` (API_Stack.html, API_Output.html).
pub(super) fn stack_and_output(text: &str) -> Option<(&str, &str)> {
    let (stack, output) = text.split_once('.')?;
    let is_stack = stack.len() <= 128
        && stack.starts_with(|c: char| c.is_ascii_alphabetic())
        && stack.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_output = !output.is_empty() && output.len() <= 255 && output.bytes().all(|it| it.is_ascii_alphanumeric());
    (is_stack && is_output).then_some((stack, output))
}

/// Reads exports. AWS can only list all of them.
pub(super) async fn exports(
    sdk: &SdkConfig,
    shared: &SharedStacks,
    reads: Vec<&LookupRead>,
) -> Vec<(LookupRead, LookupResult)> {
    if reads.is_empty() {
        return Vec::new();
    }
    let exports = shared.exports.get("", all_exports(sdk.clone())).await;
    let of = |read: &LookupRead| {
        let exports = exports.clone()?;
        Ok(exports.get(&read.name).map(|value| public(value, format!("CloudFormation export `{}`", read.name))))
    };
    reads.into_iter().map(|read| (read.clone(), of(read))).collect()
}

async fn all_exports(sdk: SdkConfig) -> Result<Arc<BTreeMap<String, String>>, AwsError> {
    let mut exports = BTreeMap::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut token: Option<String> = None;
    loop {
        let fields = token.iter().map(|token| ("NextToken", token.clone())).collect();
        let body = STACKS.call(&sdk, LIST, "", Input::Form(fields)).await?;
        let page = page(&body).ok_or_else(|| garbled(LIST, ""))?;
        exports.extend(page.exports);
        match page.next {
            None => return Ok(Arc::new(exports)),
            // A token that repeats would never end.
            Some(next) if !seen.insert(next.clone()) => return Err(garbled(LIST, "")),
            next => token = next,
        }
    }
}

/// Reads outputs, each stack once.
pub(super) async fn outputs(
    sdk: &SdkConfig,
    shared: &SharedStacks,
    reads: Vec<&LookupRead>,
) -> Vec<(LookupRead, LookupResult)> {
    let named = |read: &LookupRead| stack_and_output(&read.name).map(|(stack, _)| stack.to_owned());
    let names: BTreeSet<String> = reads.iter().filter_map(|read| named(read)).collect();
    let stacks = join_all(names.into_iter().map(|name| async move {
        let found = shared.stacks.get(&name, described(sdk.clone(), name.clone())).await;
        (name, found)
    }));
    let stacks: BTreeMap<String, Result<Option<Arc<Stack>>, AwsError>> = stacks.await.into_iter().collect();
    let of = |read: &LookupRead| {
        let (stack, output) = stack_and_output(&read.name)?;
        Some(match stacks.get(stack)?.clone() {
            Ok(Some(found)) => found.output(stack, output),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        })
    };
    reads.into_iter().filter_map(|read| Some((read.clone(), of(read)?))).collect()
}

async fn described(sdk: SdkConfig, name: String) -> Result<Option<Arc<Stack>>, AwsError> {
    let fields = vec![("StackName", name.clone())];
    let body = STACKS.call(&sdk, DESCRIBE, &name, Input::Form(fields)).await.if_exists()?;
    body.map(|body| stack(&body).map(Arc::new).ok_or_else(|| garbled(DESCRIBE, &name))).transpose()
}

impl Stack {
    /// An output, which is final only when no change of the stack is in progress.
    fn output(&self, name: &str, output: &str) -> LookupResult {
        if !self.status.ends_with("_COMPLETE") || self.status.starts_with("DELETE") {
            let why = format!("the stack `{name}` is in the state {}, so its outputs may change", self.status);
            return Err(unusable(DESCRIBE, name, why, "wait until the stack's change is complete, and run this again"));
        }
        Ok(self.outputs.get(output).map(|value| public(value, format!("stack output `{name}.{output}`"))))
    }
}

fn public(value: &str, from: String) -> LookupAnswer {
    LookupAnswer { value: Value::String(value.to_owned()), is_secret: false, from }
}

/// A page of exports.
#[derive(Default)]
struct Page {
    exports: Vec<(String, String)>,
    next: Option<String>,
}

fn page(body: &str) -> Option<Page> {
    let mut page = Page::default();
    in_result(body, "ListExportsResult", &mut |name, element| match name {
        "Exports" => each(element, &mut |_, export| {
            let fields = fields(export);
            let of = |name: &str| fields.get(name).cloned();
            page.exports.extend(of("Name").zip(of("Value")));
        }),
        "NextToken" => page.next = text(element).filter(|token| !token.is_empty()),
        _ => {}
    })?;
    Some(page)
}

fn stack(body: &str) -> Option<Stack> {
    let mut stack = Stack::default();
    in_result(body, "DescribeStacksResult", &mut |name, element| {
        if name == "Stacks" {
            each(element, &mut |_, member| {
                each(member, &mut |name, element| match name {
                    "StackStatus" => stack.status = text(element).unwrap_or_default(),
                    "Outputs" => each(element, &mut |_, output| {
                        let fields = fields(output);
                        let of = |name: &str| fields.get(name).cloned();
                        stack.outputs.extend(of("OutputKey").zip(of("OutputValue")));
                    }),
                    _ => {}
                });
            });
        }
    })?;
    (!stack.status.is_empty()).then_some(stack)
}

/// Visits the elements in the result of a response; `None` if it has none.
fn in_result(body: &str, result: &str, visit: &mut dyn FnMut(&str, &mut ScopedDecoder<'_, '_>)) -> Option<()> {
    let mut document = Document::new(body);
    let mut root = document.root_element().ok()?;
    let mut is_found = false;
    each(&mut root, &mut |name, element| {
        if name == result {
            is_found = true;
            each(element, visit);
        }
    });
    is_found.then_some(())
}

/// Visits the elements in an element.
fn each(element: &mut ScopedDecoder<'_, '_>, visit: &mut dyn FnMut(&str, &mut ScopedDecoder<'_, '_>)) {
    while let Some(mut tag) = element.next_tag() {
        let name = tag.start_el().local().to_owned();
        visit(&name, &mut tag);
    }
}

/// The texts in an element by the names of their elements.
fn fields(element: &mut ScopedDecoder<'_, '_>) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    each(element, &mut |name, element| fields.extend(text(element).map(|text| (name.to_owned(), text))));
    fields
}

fn text(element: &mut ScopedDecoder<'_, '_>) -> Option<String> {
    try_data(element).ok().map(|text| text.into_owned())
}
