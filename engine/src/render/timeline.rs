//! The timeline of an apply: a summary line, and a page with a bar for each step.
//!
//! **Invariant:** only names, numbers, times and masked texts, no values of a spec. The page needs
//! no script and no network.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use serde_json::{Value as Json, json};

use crate::apply::StepOutcome;
use crate::aws::Secrets;
use crate::aws::recorder::CallResult;
use crate::files;
use crate::plan::{Plan, StepId};
use crate::schema::AwsEnv;
use crate::spec::Spec;
use crate::timeline::{Axis, Bar, TimedCall, TimedWait, Timeline, Timing};

use super::OutputStyle;
use super::outcome::verb_of;
use super::page::page;

/// Identifies a timeline page.
pub const GENERATOR: &str = files::TIMELINE;

/// One run of a command, as the page shows it.
pub struct TimelineRun<'r> {
    /// What was applied.
    pub spec: &'r Spec,
    /// Region and account.
    pub env: &'r AwsEnv,
    /// What was planned.
    pub plan: &'r Plan,
    /// How each step ended.
    pub endings: &'r [StepOutcome],
    /// What the run did.
    pub timeline: Timeline,
    /// Values to mask.
    pub secrets: &'r Secrets,
}

/// `Finished in 10.3 s. Critical path: todos (6.1 s) -> todos-to-logger (4.0 s)`, of the longest
/// run. `None` for a single step, whose own line has the same time. `prefix` precedes each resource
/// of a run.
pub fn took<'r>(
    runs: impl Iterator<Item = (&'r str, &'r Plan, &'r Timing)> + Clone,
    out: OutputStyle,
) -> Option<String> {
    if runs.clone().map(|(_, plan, _)| plan.steps.len()).sum::<usize>() < 2 {
        return None;
    }
    let total = runs.clone().map(|(.., timing)| timing.total).max()?;
    // Of several that took the same, the first.
    let longest = |best: (&'r str, &'r Plan, &'r Timing), next: (&'r str, &'r Plan, &'r Timing)| {
        if next.2.ideal > best.2.ideal { next } else { best }
    };
    let (prefix, plan, timing) = runs.reduce(longest)?;
    let links = timing.path.iter().map(|link| {
        let label = label(plan, link.step);
        format!("{prefix}{label} ({})", seconds(link.share))
    });
    let links: Vec<String> = links.collect();
    (!links.is_empty()).then(|| {
        format!(
            "Finished in {}. Critical path: {}",
            seconds(total),
            links.join(if out.plain { ", then " } else { " -> " })
        )
    })
}

/// The same as JSON.
pub fn timing_json(plan: &Plan, timing: &Timing) -> Json {
    let path = timing.path.iter().map(|link| {
        json!({
            "resource": resource(plan, link.step),
            "step": plan.steps.get(link.step.0).map(|step| super::json::step_name(step.op)),
            "seconds": super::json::seconds(link.share),
        })
    });
    json!({
        "seconds": super::json::seconds(timing.total),
        "ideal_seconds": super::json::seconds(timing.ideal),
        "longest_pole": path.collect::<Vec<Json>>(),
    })
}

/// The page of all runs of a command, which started at `when`.
pub fn document(axis: &Axis, runs: &[TimelineRun<'_>], when: SystemTime) -> String {
    let title = match runs {
        [TimelineRun { spec, .. }] => format!("timeline of {}/{}", spec.team, spec.stack),
        runs => format!("timeline of {} applies", runs.len()),
    };
    let second = humantime::format_rfc3339_seconds(when).to_string().replace('T', " ").replace('Z', " UTC");
    let body = html! {
        h1 { "Where the time went" }
        p class="quiet" { "engine " (env!("CARGO_PKG_VERSION")) ", started " (second) }
        @for run in runs { (section(axis, run)) }
        (legend())
    };
    page(GENERATOR, &title, CSS, &body).into_string() + "\n"
}

fn section(axis: &Axis, run: &TimelineRun<'_>) -> Markup {
    let TimelineRun { spec, env, plan, timeline, .. } = run;
    html! {
        section {
            h2 { (spec.team) "/" (spec.stack) span class="quiet" { " account " (env.account) ", " (env.region) } }
            (verdict(run))
            (facts(timeline))
            (critical_path(plan, &timeline.timing))
            (chart(axis, run))
        }
    }
}

/// Whether the run was interrupted or is incomplete.
fn verdict(TimelineRun { plan, endings, .. }: &TimelineRun<'_>) -> Markup {
    let is_interrupted = endings.iter().any(|ending| match ending {
        StepOutcome::NotStarted => true,
        StepOutcome::Failed(error) => error.is_interrupted(),
        StepOutcome::Done(_) | StepOutcome::Skipped(_) => false,
    });
    let n_failed =
        endings.iter().filter(|ending| matches!(ending, StepOutcome::Failed(_) | StepOutcome::Skipped(_))).count();
    html! {
        @if is_interrupted {
            p class="failure" { "Interrupted: AWS may still complete the steps that were running." }
        } @else if n_failed > 0 {
            p class="failure" { "Incomplete: " (n_failed) " of " (plan.steps.len()) " steps failed or were skipped." }
        }
    }
}

fn facts(Timeline { timing, reads, bars }: &Timeline) -> Markup {
    let all = || reads.iter().chain(bars.iter().map(|(_, bar)| bar));
    let n_calls: usize = all().map(|bar| bar.calls.len()).sum();
    let n_retried: usize = all().map(Bar::retries).sum();
    let n_throttled: usize = all().map(Bar::throttled).sum();
    let reading = reads.as_ref().map(|reads| reads.end.saturating_sub(reads.begin)).unwrap_or_default();
    html! {
        dl class="facts" {
            (fact("total", &length(timing.total), "from the start of the first step to the end of the last"))
            (fact("ideal", &length(timing.ideal), "the critical path without gaps between its steps"))
            (fact("reading", &length(reading), "before the plan was shown"))
            (fact("calls", &n_calls.to_string(), &format!("{n_retried} retried, {n_throttled} throttled")))
        }
    }
}

fn critical_path(plan: &Plan, timing: &Timing) -> Markup {
    html! {
        @if plan.steps.is_empty() {
            p { "No changes." }
        } @else {
            p class="path" {
                "Critical path: "
                @for (at, link) in timing.path.iter().enumerate() {
                    @if at > 0 { " → " }
                    strong { (label(plan, link.step)) } " (" (length(link.share)) ")"
                }
                @if timing.path.is_empty() { "none, no step took any time" }
            }
        }
    }
}

/// A row for the reads, for each step that ran, and for each that didn't.
fn chart(axis: &Axis, run: &TimelineRun<'_>) -> Markup {
    let TimelineRun { plan, endings, timeline, .. } = run;
    let not_started = endings.iter().enumerate().filter_map(|(at, ending)| {
        let why = match ending {
            StepOutcome::Skipped(cause) => format!("skipped, it depends on {cause}"),
            StepOutcome::NotStarted => "not started".to_owned(),
            StepOutcome::Done(_) | StepOutcome::Failed(_) => return None,
        };
        Some((StepId(at), why))
    });
    html! {
        div class="chart" style={ "--tick:" (percent(tick(axis.length), axis.length)) } {
            (scale(axis.length))
            ol {
                @if let Some(reads) = &timeline.reads {
                    li class="row reads" {
                        (name("reading", "current state in AWS", "", false, reads))
                        (track(axis, reads, ""))
                        (notes(run, reads, None))
                    }
                }
                @for (step, bar) in &timeline.bars { (row(axis, run, *step, bar)) }
                @for (step, why) in not_started {
                    li class="row" {
                        div class="name" {
                            strong { (label(plan, step)) } " " span class="quiet" { (kind(plan, step)) }
                        }
                        div class="track" {}
                        div class="notes" { p { (why) } }
                    }
                }
            }
        }
    }
}

fn fact(what: &str, value: &str, meaning: &str) -> Markup {
    html! {
        div {
            dt { (what) }
            dd { (value) }
            dd class="quiet" { (meaning) }
        }
    }
}

fn row(axis: &Axis, run: &TimelineRun<'_>, step: StepId, bar: &Bar) -> Markup {
    let TimelineRun { plan, endings, timeline, .. } = run;
    let is_critical = timeline.timing.path.iter().any(|link| link.step == step);
    let (doing, done) = plan.steps.get(step.0).map_or(("", ""), |step| {
        let (_, doing, done) = verb_of(step.op);
        (doing, done)
    });
    let failure = match endings.get(step.0) {
        Some(StepOutcome::Failed(error)) => Some(error),
        _ => None,
    };
    let (class, how) = match failure {
        Some(error) if error.is_interrupted() => ("failed", format!("{doing} interrupted")),
        Some(_) => ("failed", format!("{doing} failed")),
        None => ("", done.to_owned()),
    };
    let text = failure.map(|error| run.secrets.mask(&error.to_string()));
    html! {
        li class={ "row " @if is_critical { "critical " } (class) } {
            (name(&label(plan, step), kind(plan, step), &how, is_critical, bar))
            (track(axis, bar, class))
            (notes(run, bar, text.as_deref()))
        }
    }
}

fn name(label: &str, kind: &str, how: &str, is_critical: bool, bar: &Bar) -> Markup {
    html! {
        div class="name" {
            strong { (label) } " " span class="quiet" { (kind) }
            div class="how" {
                @if !how.is_empty() { (how) ", " }
                (length(bar.end.saturating_sub(bar.begin)))
                @if is_critical { " " span class="badge" { "critical path" } }
            }
        }
    }
}

/// The bar itself: decoration, since the notes contain the same as text.
fn track(axis: &Axis, bar: &Bar, class: &str) -> Markup {
    let span = |begin: Duration, end: Duration| {
        let width = end.saturating_sub(begin);
        format!("left:{};width:{}", percent(begin, axis.length), percent(width, axis.length))
    };
    let at = |at: Duration| format!("left:{}", percent(at, axis.length));
    html! {
        div class="track" aria-hidden="true" {
            @if bar.begin.saturating_sub(bar.ready) >= NOTICEABLE {
                span class="queued" style=(span(bar.ready, bar.begin)) {}
            }
            span class={ "bar" @if !class.is_empty() { " " (class) } } style=(span(bar.begin, bar.end)) {}
            @for wait in &bar.waits {
                span class="wait" style=(span(wait.begin, wait.end)) title=(wait.reason) {}
            }
            @if let Some(created) = bar.created.filter(|created| *created < bar.end) {
                span class="made" style=(at(created)) title={ "created at " (length(created)) } {}
            }
            @for call in &bar.calls {
                span class={ "call" @if is_failure(call) { " vain" } } style=(span(call.begin, call.end))
                    title={ (call.operation) " " (call.target) ": " (answers(call)) } {}
            }
        }
    }
}

fn notes(run: &TimelineRun<'_>, bar: &Bar, failure: Option<&str>) -> Markup {
    let (again, throttled) = (bar.retries(), bar.throttled());
    let queued = bar.begin.saturating_sub(bar.ready);
    html! {
        div class="notes" {
            @if let Some(failure) = failure { p class="failure" { (failure) } }
            @if queued >= NOTICEABLE { p { "queued " (length(queued)) ": the maximum number of steps was running" } }
            @for TimedWait { begin, end, reason } in &bar.waits {
                @let time = end.saturating_sub(*begin);
                @if time >= NOTICEABLE { p { "waited " (length(time)) " for " (run.secrets.mask(reason)) } }
            }
            @if !bar.calls.is_empty() {
                details {
                    summary {
                        (bar.calls.len()) @if bar.calls.len() == 1 { " call" } @else { " calls" }
                        @if again > 0 { ", " (again) " retried" }
                        @if throttled > 0 { ", " (throttled) " throttled" }
                    }
                    table {
                        tr { th { "at" } th { "operation" } th { "target" } th { "took" } th { "response" } }
                        @for (call, n, time) in grouped(&bar.calls) {
                            tr class=[is_failure(call).then_some("vain")] {
                                td { (length(call.begin)) }
                                td { (call.operation) @if n > 1 { " ×" (n) } @if call.is_retry { " retry" } }
                                td { (call.target) }
                                td {
                                    (length(time))
                                    @if call.rate_limited >= NOTICEABLE { ", " (length(call.rate_limited)) " of it rate-limited" }
                                }
                                td { (answers(call)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Calls in order. Consecutive successful calls of the same operation and target are one row, with
/// their number and total time.
fn grouped(calls: &[TimedCall]) -> Vec<(&TimedCall, usize, Duration)> {
    let mut rows: Vec<(&TimedCall, usize, Duration)> = Vec::new();
    for call in calls {
        let time = call.end.saturating_sub(call.begin);
        let like = |last: &TimedCall| {
            (&last.operation, &last.target, last.is_retry) == (&call.operation, &call.target, call.is_retry)
                && ![last, call].into_iter().any(is_failure)
        };
        match rows.last_mut().filter(|(last, ..)| like(last)) {
            Some((_, n, sum)) => (*n, *sum) = (*n + 1, *sum + time),
            None => rows.push((call, 1, time)),
        }
    }
    rows
}

/// Whether it failed at least once.
fn is_failure(call: &TimedCall) -> bool {
    call.answers.iter().any(|answer| call.is_failure(answer))
}

fn answers(call: &TimedCall) -> String {
    let words = call.answers.iter().map(|answer| match answer {
        Some(CallResult::Done) => "done".to_owned(),
        Some(CallResult::Throttled) => "throttled".to_owned(),
        Some(CallResult::Error(_, Some(code))) => code.clone(),
        Some(CallResult::Error(status, None)) => format!("error {status}"),
        Some(CallResult::Nothing) => "no response".to_owned(),
        None => "no response before the end".to_owned(),
    });
    words.collect::<Vec<_>>().join(", then ")
}

/// The axis.
fn scale(whole: Duration) -> Markup {
    let tick = tick(whole);
    let ticks = (0..=MOST_TICKS).map(|n| tick * n).take_while(|at| *at <= whole);
    // Near the right edge, the label is left of its line.
    let class = |at: Duration| (at.as_secs_f64() > 0.9 * whole.as_secs_f64()).then_some("last");
    html! {
        div class="scale" aria-hidden="true" {
            @for at in ticks { span class=[class(at)] style={ "left:" (percent(at, whole)) } { (mark(at)) } }
        }
    }
}

/// The distance between two lines of the axis.
fn tick(whole: Duration) -> Duration {
    const STEPS: [u64; 15] = [
        100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000,
        3_600_000,
    ];
    let fits = |step: &Duration| *step * MOST_TICKS >= whole;
    STEPS.into_iter().map(Duration::from_millis).find(fits).unwrap_or(whole / MOST_TICKS)
}

const MOST_TICKS: u32 = 6;
/// Anything shorter gets no line.
const NOTICEABLE: Duration = Duration::from_millis(50);

fn mark(at: Duration) -> String {
    match at.as_millis() {
        millis if millis % 1000 != 0 => format!("{:.1} s", at.as_secs_f64()),
        millis if millis >= 120_000 => format!("{} min", millis / 60_000),
        millis => format!("{} s", millis / 1000),
    }
}

fn percent(part: Duration, whole: Duration) -> String {
    let part = if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() * 100.0 };
    format!("{part:.2}%")
}

fn legend() -> Markup {
    html! {
        section class="legend" {
            h2 { "How to read it" }
            ul {
                li { span class="key bar" {} "a running step: its calls and the time between them" }
                li { span class="key bar failed" {} "a failed step" }
                li { span class="key wait" {} "waiting, for the reason below the bar" }
                li {
                    span class="key queued" {}
                    "queued: " code { "--parallelism" } " steps were already running, or another step was writing to the same function"
                }
                li { span class="key made" {} "created: steps that only need its outputs could start" }
                li { span class="key call" {} "a call to AWS" }
                li { span class="key call vain" {} "a call that failed at least once" }
                li {
                    span class="badge" { "critical path" }
                    "the chain of steps that took longest; only a faster step in it makes the apply faster"
                }
            }
            p {
                "The total is the time from the start of the first step to the end of the last. The ideal is how long \
                 the same steps would take if each started as soon as its dependencies allowed. Neither includes \
                 reading. The axis leaves out the time for showing the plan and confirming it."
            }
        }
    }
}

fn resource(plan: &Plan, id: StepId) -> &str {
    let change = plan.steps.get(id.0).and_then(|step| plan.changes.get(step.change));
    change.map_or("", |change| &change.resource)
}

fn kind(plan: &Plan, id: StepId) -> &str {
    let change = plan.steps.get(id.0).and_then(|step| plan.changes.get(step.change));
    change.map_or("", |change| &change.kind)
}

/// The resource, with the verb if it has several steps.
fn label(plan: &Plan, id: StepId) -> String {
    let Some(step) = plan.steps.get(id.0) else { return String::new() };
    let is_only = plan.steps.iter().filter(|it| it.change == step.change).count() == 1;
    if is_only { resource(plan, id).to_owned() } else { format!("{} {}", verb_of(step.op).0, resource(plan, id)) }
}

/// `43 ms`, `10.3 s`, `2 min 05 s`.
fn length(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => seconds(time),
    }
}

/// `0.3 s`, `10.3 s`, `2 min 05 s`.
fn seconds(time: Duration) -> String {
    match time.as_millis() {
        0..100_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

const CSS: &str = "\
:root{--work:#0969da;--wait:#f0c04c;--queued:#8c959f;--bad:#cf222e;--good:#1a7f37;--mark:#8250df}\
@media(prefers-color-scheme:dark){:root{--work:#388bfd;--wait:#9e6a03;--queued:#6e7681;--bad:#f85149;--good:#3fb950;\
--mark:#a371f7}}\
body{max-width:1200px;font-size:14px;line-height:1.45}h2{font-size:16px;margin:28px 0 12px}h2 span{font-weight:400}\
.quiet{color:var(--quiet)}p{margin:4px 0}\
.facts{display:flex;flex-wrap:wrap;gap:12px 32px;margin:0 0 12px}.facts div{max-width:190px}\
.facts dt{color:var(--quiet)}\
.facts dd{margin:0;font-size:22px;font-weight:600}.facts dd.quiet{font-size:12px;font-weight:400;line-height:1.3}\
.path{border-left:4px solid var(--mark);padding-left:10px}\
.chart ol{list-style:none;margin:0;padding:0}\
.scale{position:relative;height:20px;margin-left:232px;font-size:12px;color:var(--quiet)}\
.scale span{position:absolute;white-space:nowrap}.scale .last{transform:translateX(-100%)}\
.row{display:grid;grid-template-columns:220px 1fr;column-gap:12px;padding:8px 0;border-top:1px solid var(--line)}\
.row.critical .name{border-left:4px solid var(--mark);padding-left:8px}\
.row .name{padding-left:12px;overflow-wrap:anywhere}\
.how{font-size:12px;color:var(--quiet)}.badge{display:inline-block;padding:0 6px;border:1px solid var(--mark);\
border-radius:8px;color:var(--mark);font-size:12px}\
.track{position:relative;min-height:34px;\
background:linear-gradient(to right,var(--line) 1px,transparent 1px) 0 0/var(--tick) 100%}\
.track span{position:absolute;box-sizing:border-box;min-width:2px}\
.bar,.wait,.queued{top:4px;height:18px;border-radius:3px}.bar{background:var(--work)}.bar.failed{background:var(--bad)}\
.critical .bar{outline:2px solid var(--mark);outline-offset:1px}\
.wait{background:repeating-linear-gradient(135deg,var(--wait) 0 6px,transparent 6px 9px),var(--ground)}\
.track .wait{top:7px;height:12px;border-radius:0}\
.queued{background:repeating-linear-gradient(135deg,var(--queued) 0 2px,transparent 2px 6px);\
border:1px solid var(--queued)}\
.made{width:2px;background:var(--ink)}.track .made{top:0;height:26px}\
.call{background:var(--good)}.track .call{top:27px;height:5px}.call.vain{background:var(--bad)}.track .vain{height:7px}\
.notes{grid-column:2;min-width:0;font-size:12px;color:var(--quiet);overflow-wrap:anywhere}\
.failure,.failed .how,tr.vain{color:var(--bad)}\
details{overflow-x:auto}details table{border-collapse:collapse;margin:4px 0}summary{cursor:pointer}\
th,td{white-space:nowrap;padding:1px 14px 1px 0;text-align:left;font-weight:400;vertical-align:top}th{color:var(--ink)}\
.legend ul{list-style:none;padding:0}.legend li{display:flex;gap:8px;align-items:center;margin:3px 0}\
.key{flex:none;width:28px;height:12px}.key.made{width:2px;margin:0 13px}.key.call{height:5px}.legend p{max-width:70ch}\
.legend .badge{flex:none}\
@media(max-width:640px){body{margin:12px}.row{grid-template-columns:1fr}.notes{grid-column:1}.scale{margin-left:0}\
.track,.notes{margin-left:12px}.scale{margin-left:12px}.facts{gap:12px 20px}.facts div{max-width:135px}}\
@media print{details{display:none}}";
