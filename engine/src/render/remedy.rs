//! Words the advice of the core: the names of options and commands.
//!
//! **Invariant:** each remedy is an imperative and each request a noun, so that they fit into any
//! sentence.

use std::borrow::Cow;

use crate::remedy::{Advice, AdvicePart, Remedy, Request};

/// Advice as text.
pub fn words(advice: &Advice) -> String {
    let words = advice.parts().iter().map(|part| match part {
        AdvicePart::Text(text) => Cow::from(text),
        AdvicePart::Remedy(remedy) => Cow::from(imperative(remedy)),
        AdvicePart::Request(request) => Cow::from(noun(*request)),
    });
    words.collect()
}

fn imperative(remedy: &Remedy) -> String {
    match remedy {
        Remedy::AllowDataLoss => "add `--delete-data`".to_owned(),
        Remedy::AssumeOwner => "add `--assume-owner`".to_owned(),
        Remedy::Replace(name) => format!("add `--replace {name}`"),
        Remedy::Forget(None) => "run `engine forget`".to_owned(),
        Remedy::Forget(Some(name)) => format!("run `engine forget {name}`"),
        Remedy::SearchByName => "add `--prune-scan`".to_owned(),
        Remedy::DestroyStack { team, stack, region } => {
            format!("run `engine destroy --team {team} --stack {stack} --region {region}`")
        }
    }
}

fn noun(request: Request) -> &'static str {
    match request {
        Request::Apply => "`apply`",
        Request::Replace => "`--replace`",
        Request::Targets => "`--target`",
    }
}
