//! Shows plans and their outcomes, as text, JSON or Markdown.
//!
//! **Invariant:** plans that differ only in the team are shown once.

use crate::apply::StepOutcome;
use crate::cli::args::{PlanFormat, ViewArgs};
use crate::cli::session::Session;
use crate::plan::{Action, Change, Plan};
use crate::render::markdown::{self, PlanContext};
use crate::render::{self, Rows, remedy};
use crate::timeline::Timing;
use crate::value::Value;

use super::{Deployment, PlannedRun};

impl Deployment<'_> {
    /// Shows the plans.
    pub(in crate::cli) fn show(&self, planned: &[PlannedRun<'_>]) {
        for it in planned {
            let (spec, env) = (&it.run.session.spec, &it.run.inventory.env);
            match self.view.format {
                PlanFormat::Json => {
                    self.terminal.print(&format!("{}\n", render::plan_json(spec, env, &it.plan)));
                }
                PlanFormat::Markdown => self.terminal.print(&markdown::plan(&self.page(it), &it.plan)),
                PlanFormat::Human => {}
            }
        }
        if self.is_for_people() {
            self.show_groups(planned);
        }
    }

    fn show_groups(&self, planned: &[PlannedRun<'_>]) {
        for (at, group) in self.groups(planned).iter().enumerate() {
            let Some((PlannedRun { run, .. }, text)) = group.first() else { continue };
            let Session { spec, notes, .. } = &run.session;
            let teams: Vec<&str> = group.iter().map(|(it, _)| it.run.session.spec.team.as_str()).collect();
            let heading = render::heading_of(&teams, &spec.stack, &run.inventory.env, notes, self.terminal.out);
            let text = if teams.len() > 1 { for_any_team(text, &spec.team) } else { text.clone() };
            self.terminal.show(&format!("{}{heading}\n\n{text}", if at == 0 { "" } else { "\n" }));
        }
    }

    /// The plans as text, grouped if they differ only in the team.
    fn groups<'p, 't>(&self, planned: &'p [PlannedRun<'t>]) -> Vec<Vec<(&'p PlannedRun<'t>, String)>> {
        let mut groups: Vec<(String, Vec<(&PlannedRun<'_>, String)>)> = Vec::new();
        for it in planned {
            let Session { spec, notes, .. } = &it.run.session;
            let text = self.text(it);
            let env = &it.run.inventory.env;
            let key = format!("{} {env:?} {notes:?}\n{}", spec.stack, for_any_team(&text, &spec.team));
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, group)) => group.push((it, text)),
                None => groups.push((key, vec![(it, text)])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// The plan as text, without the reasons for refusals: the errors that follow report them.
    fn text(&self, PlannedRun { run, plan }: &PlannedRun<'_>) -> String {
        let (destroy, style) = (self.is_destroy(), self.terminal.out);
        if run.renamed(plan).is_some() {
            return format!("{}\n", render::summary(plan, destroy, style));
        }
        let changes = plan.changes.iter().cloned().map(|change| match change.action {
            Action::Refused => {
                // The lines to paste, as they would be in the spec.
                let hint = change.hint.filter(|hint| remedy::text(hint).contains('\n'));
                Change { reason: None, hint, ..change }
            }
            _ => change,
        });
        let summary = Plan { changes: changes.collect(), steps: Vec::new(), remarks: plan.remarks.clone() };
        render::plan(&summary, destroy, rows(self.view), style)
    }

    /// Prints the document of each plan that isn't applied, if one is requested.
    pub(super) fn print_documents(&self, planned: &[PlannedRun<'_>], status: &str) {
        planned.iter().for_each(|it| self.print_document(it, status, &[], None, &[]));
    }

    /// Prints the JSON or Markdown document of a plan and its outcome, if one is requested.
    pub(super) fn print_document(
        &self,
        planned: &PlannedRun<'_>,
        status: &str,
        endings: &[StepOutcome],
        timing: Option<&Timing>,
        outputs: &[(String, Value)],
    ) {
        let PlannedRun { run, plan } = planned;
        match self.view.format {
            PlanFormat::Human => {}
            PlanFormat::Json => {
                let (spec, env) = (&run.session.spec, &run.inventory.env);
                let json = render::outcome_json(spec, env, plan, status, endings, timing, outputs);
                self.terminal.print(&format!("{json}\n"));
            }
            PlanFormat::Markdown => {
                self.terminal.print(&markdown::outcome(&self.page(planned), plan, status, endings));
            }
        }
    }

    fn page<'r>(&self, PlannedRun { run, .. }: &'r PlannedRun<'_>) -> PlanContext<'r> {
        let Session { spec, notes, .. } = &run.session;
        PlanContext { spec, env: &run.inventory.env, notes, rows: rows(self.view), destroy: self.is_destroy() }
    }
}

/// Replaces the team's name by a placeholder, where it is a whole word or begins a name.
fn for_any_team(text: &str, team: &str) -> String {
    let (mut found, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(team) {
        let (before, after) = (&rest[..at], &rest[at + team.len()..]);
        let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
        let is_end = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        found.push_str(before);
        found.push_str(if is_start && is_end { "<team>" } else { team });
        rest = after;
    }
    found + rest
}

/// The rows that the command line asks for.
pub(super) fn rows(view: &ViewArgs) -> Rows {
    if view.show_unchanged { Rows::All } else { Rows::Noteworthy }
}
