//! The names that a stack's resources can have in AWS.
//!
//! **Invariant:** names are compared byte by byte: no pattern, no other case, no normalization.

use std::collections::BTreeSet;

use super::{ArnForm, Identity, Schema, is_of_team};

/// The names that a stack's resources can have: those that start with the team, and those in
/// `owns:`.
#[derive(Debug, Clone, Copy)]
pub struct Names<'n> {
    /// The team.
    pub team: &'n str,
    /// The names in `owns:`.
    pub owns: &'n BTreeSet<String>,
}

impl Names<'_> {
    /// Whether a resource of the stack can have this name; `form` is that of its type's ARNs.
    pub fn includes(&self, form: Option<&ArnForm>, name: &str) -> bool {
        self.has_prefix(form, name) || self.is_listed(form, name)
    }

    /// Whether only `owns:` has this name, so that nothing but tags can prove the owner.
    pub fn is_listed(&self, form: Option<&ArnForm>, name: &str) -> bool {
        !self.has_prefix(form, name) && form.is_some_and(|form| !form.requires_prefix) && self.owns.contains(name)
    }

    fn has_prefix(&self, form: Option<&ArnForm>, name: &str) -> bool {
        form.map_or_else(|| is_of_team(name, self.team), |form| form.is_of_team(name, self.team))
    }
}

impl Schema {
    /// Whether `owns:` can list this name for resources of this kind.
    pub fn can_be_listed(&self, name: &str) -> bool {
        let is_name = matches!(&self.identity, Identity::Named { text } if text.violation(name).is_none());
        is_name && self.managed && self.arn.as_ref().is_some_and(|form| !form.requires_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_is_listed() {
        let owns = BTreeSet::from(["Orders".to_owned(), "/aws/lambda/Orders".to_owned(), "acme-x".to_owned()]);
        let names = Names { team: "acme", owns: &owns };
        let (table, group) = (ArnForm::regional("x", "{name}"), ArnForm::regional_with_folders("x", "{name}"));
        for (name, in_table, in_group) in [
            ("Orders", true, true),
            ("/aws/lambda/Orders", true, true),
            ("orders", false, false),
            ("ORDERS", false, false),
            ("Orders ", false, false),
            ("Orders-2", false, false),
            ("Order", false, false),
            ("My-Orders", false, false),
            ("red/Orders", false, false),
            ("Orders/", false, false),
            ("*", false, false),
            ("", false, false),
            ("\u{FF2F}rders", false, false),
            ("Or\u{200B}ders", false, false),
        ] {
            assert_eq!(names.is_listed(Some(&table), name), in_table, "{name}");
            assert_eq!(names.includes(Some(&table), name), in_table, "{name}");
            assert_eq!(names.is_listed(Some(&group), name), in_group, "{name}");
        }
        // The prefix is enough, whatever the list has.
        assert!(!names.is_listed(Some(&table), "acme-x") && names.includes(Some(&table), "acme-x"));
        assert!(names.includes(Some(&group), "/red/acme-y") && !names.includes(Some(&table), "/red/acme-y"));
    }

    #[test]
    fn a_kind_whose_names_need_the_prefix_has_no_other_names() {
        let owns = BTreeSet::from(["Orders".to_owned()]);
        let names = Names { team: "acme", owns: &owns };
        let role = ArnForm::global("iam", "role/{path}{name}");
        assert!(!names.includes(Some(&role), "Orders") && names.includes(Some(&role), "acme-orders"));
        assert!(!names.includes(None, "Orders") && names.includes(None, "acme-orders"));
    }
}
