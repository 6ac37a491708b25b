//! Lambda's runtimes: their names, and the dates of deprecation and of the end of function creates
//! and updates.
//!
//! **Invariant:** these are known values, not the allowed ones. AWS adds runtimes and moves dates,
//! so no check here rejects a spec.

use std::sync::LazyLock;

use crate::schema::{Shape, Text};

/// One runtime. Dates are texts like `2026-11-30`, which sort by date; `None` if AWS has not
/// announced one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Its name in a spec.
    pub name: &'static str,
    /// Date after which it gets no security updates.
    pub deprecated: Option<&'static str>,
    /// Date from which Lambda creates no functions with it.
    pub create_blocked: Option<&'static str>,
    /// Date from which Lambda updates no functions with it.
    pub update_blocked: Option<&'static str>,
}

const fn runtime(
    name: &'static str,
    deprecated: &'static str,
    create_blocked: &'static str,
    update_blocked: &'static str,
) -> Runtime {
    const fn day(text: &'static str) -> Option<&'static str> {
        if text.is_empty() { None } else { Some(text) }
    }
    Runtime {
        name,
        deprecated: day(deprecated),
        create_blocked: day(create_blocked),
        update_blocked: day(update_blocked),
    }
}

/// A preview runtime, which AWS accepts but has not released for production.
const fn preview(name: &'static str) -> Runtime {
    runtime(name, "", "", "")
}

/// The date for which the table below was checked. Runtimes blocked for creates by then are not
/// suggested.
const AS_OF: &str = "2026-11-01";

/// docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html: for each language, the recommended
/// one, then newest first.
const RUNTIMES: [Runtime; 51] = [
    runtime("nodejs22.x", "2027-04-30", "2027-06-01", "2027-07-01"),
    runtime("nodejs24.x", "2028-04-30", "2028-06-01", "2028-07-01"),
    preview("nodejs26.x"),
    runtime("nodejs20.x", "2026-04-30", "2027-02-01", "2027-03-03"),
    runtime("nodejs18.x", "2025-09-01", "2027-02-01", "2027-03-03"),
    runtime("nodejs16.x", "2024-06-12", "2027-02-01", "2027-03-03"),
    runtime("nodejs14.x", "2023-12-04", "2024-01-09", "2027-03-03"),
    runtime("nodejs12.x", "2023-03-31", "2023-03-31", "2023-04-30"),
    runtime("nodejs10.x", "2021-07-30", "2021-07-30", "2022-02-14"),
    runtime("nodejs8.10", "2020-03-06", "2020-02-04", "2020-03-06"),
    runtime("nodejs6.10", "2019-08-12", "2019-07-12", "2019-08-12"),
    runtime("nodejs4.3", "2020-03-05", "2020-02-03", "2020-03-05"),
    runtime("nodejs4.3-edge", "2020-03-05", "2019-03-31", "2019-04-30"),
    runtime("nodejs", "2016-08-30", "2016-09-30", "2016-10-31"),
    runtime("python3.14", "2029-06-30", "2029-07-31", "2029-08-31"),
    preview("python3.15"),
    runtime("python3.13", "2029-06-30", "2029-07-31", "2029-08-31"),
    runtime("python3.12", "2028-10-31", "2028-11-30", "2029-01-10"),
    runtime("python3.11", "2027-06-30", "2027-07-31", "2027-08-31"),
    runtime("python3.10", "2026-10-31", "2027-02-01", "2027-03-03"),
    runtime("python3.9", "2025-12-15", "2027-02-01", "2027-03-03"),
    runtime("python3.8", "2024-10-14", "2027-02-01", "2027-03-03"),
    runtime("python3.7", "2023-12-04", "2024-01-09", "2027-03-03"),
    runtime("python3.6", "2022-07-18", "2022-07-18", "2022-08-29"),
    runtime("python2.7", "2021-07-15", "2021-07-15", "2022-05-30"),
    runtime("ruby4.0", "2029-03-31", "2029-04-30", "2029-05-31"),
    runtime("ruby3.4", "2028-03-31", "2028-04-30", "2028-05-31"),
    runtime("ruby3.3", "2027-03-31", "2027-04-30", "2027-05-31"),
    runtime("ruby3.2", "2026-03-31", "2027-02-01", "2027-03-03"),
    runtime("ruby2.7", "2023-12-07", "2024-01-09", "2027-03-03"),
    runtime("ruby2.5", "2021-07-30", "2021-07-30", "2022-03-31"),
    runtime("java25", "2029-06-30", "2029-07-31", "2029-08-31"),
    runtime("java21", "2029-06-30", "2029-07-31", "2029-08-31"),
    runtime("java17.al2023", "2029-06-30", "", ""),
    runtime("java17", "2027-06-30", "2027-07-31", "2027-08-31"),
    runtime("java11.al2023", "2029-06-30", "", ""),
    runtime("java11", "2027-06-30", "2027-07-31", "2027-08-31"),
    runtime("java8.al2023", "2029-06-30", "", ""),
    runtime("java8.al2", "2027-06-30", "2027-07-31", "2027-08-31"),
    runtime("java8", "2024-01-08", "2024-02-08", "2027-03-03"),
    runtime("dotnet10", "2028-11-14", "2028-12-14", "2029-01-15"),
    runtime("dotnet8", "2026-11-10", "2027-07-29", "2027-08-31"),
    runtime("dotnet6", "2024-12-20", "2027-07-29", "2027-08-31"),
    runtime("dotnetcore3.1", "2023-04-03", "2023-04-03", "2023-05-03"),
    runtime("dotnetcore2.1", "2022-01-05", "2022-01-05", "2022-04-13"),
    runtime("dotnetcore2.0", "2019-05-30", "2019-04-30", "2019-05-30"),
    runtime("dotnetcore1.0", "2019-06-27", "2019-06-30", "2019-07-30"),
    runtime("provided.al2023", "2029-06-30", "2029-07-31", "2029-08-31"),
    runtime("provided.al2", "2026-07-31", "2027-02-01", "2027-03-03"),
    runtime("provided", "2024-01-08", "2024-02-08", "2027-03-03"),
    runtime("go1.x", "2024-01-08", "2024-02-08", "2027-03-03"),
];

/// The format of a runtime name: a language and version, or `provided` and an operating system.
static FORM: LazyLock<Text> =
    LazyLock::new(|| Text::new(2..=64, "a runtime name, like `nodejs22.x` or `python3.13`", is_runtime));

/// Names of Node.js, Python and Ruby runtimes always have a dot, so `nodejs22` is a typo and no
/// future runtime.
fn is_runtime(text: &str) -> bool {
    let start = text.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(text.len());
    let (language, version) = text.split_at(start);
    let has_dot = || version.split_once('.').is_some_and(|(major, minor)| !major.is_empty() && !minor.is_empty());
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    match language {
        "nodejs" | "python" | "ruby" => is_version && has_dot(),
        "provided" => version.len() > 1 && version.starts_with('.'),
        _ => language.len() > 1 && is_version,
    }
}

/// The values of `runtime:`.
pub(super) fn shape() -> Shape {
    let is_offered = |it: &&Runtime| it.create_blocked.is_none_or(|day| day > AS_OF);
    let names = |wanted: bool| RUNTIMES.iter().filter(move |it| is_offered(it) == wanted).map(|it| it.name);
    Shape::OpenChoice {
        offered: names(true).map(Into::into).collect(),
        retired: names(false).map(Into::into).collect(),
        form: FORM.clone(),
    }
}

/// The known runtime with this name.
pub fn known(name: &str) -> Option<&'static Runtime> {
    RUNTIMES.iter().find(|it| it.name == name)
}

/// The recommended replacement for the runtime `name`: the first of its language that AWS supports
/// on `day`.
pub fn successor(name: &str, day: &str) -> &'static str {
    let languages = ["nodejs", "python", "ruby", "java", "dotnet"];
    let language = languages.into_iter().find(|it| name.starts_with(it)).unwrap_or("provided");
    let is_supported = |it: &&Runtime| it.name.starts_with(language) && it.deprecated.is_some_and(|end| end > day);
    RUNTIMES.iter().find(is_supported).map_or("nodejs22.x", |it| it.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_runtime_that_the_sdk_names_is_known_and_has_the_form() {
        let Shape::OpenChoice { offered, retired, .. } = shape() else { panic!("another shape") };
        for name in aws_sdk_lambda::types::Runtime::values() {
            assert!(known(name).is_some(), "`{name}` is missing in the table");
        }
        for name in &offered {
            assert!(is_runtime(name), "{name}");
        }
        assert_eq!((&*offered[0], offered.len() + retired.len()), ("nodejs22.x", RUNTIMES.len()));
        assert!(retired.contains(&"nodejs12.x".into()) && offered.contains(&"python3.9".into()));
        let names: BTreeSet<&str> = RUNTIMES.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), RUNTIMES.len(), "a name occurs twice");
    }

    #[test]
    fn dates_have_the_right_format_and_creates_are_blocked_before_updates() {
        let is_day = |day: &str| {
            day.len() == 10
                && day.bytes().enumerate().all(|(at, byte)| match at {
                    4 | 7 => byte == b'-',
                    _ => byte.is_ascii_digit(),
                })
        };
        for it in &RUNTIMES {
            let days = [it.deprecated, it.create_blocked, it.update_blocked];
            assert!(days.into_iter().flatten().all(is_day), "{it:?}");
            assert!(it.create_blocked.is_none() || it.create_blocked <= it.update_blocked, "{it:?}");
        }
    }

    #[test]
    fn future_runtimes_match_the_format_and_typos_do_not() {
        for name in [
            "nodejs30.x",
            "python4.0",
            "python3.16-preview",
            "ruby5.0",
            "java29",
            "java29.al2027",
            "dotnet12",
            "provided.al2027",
            "rust1.x",
            "kotlin3",
        ] {
            assert!(is_runtime(name), "{name}");
        }
        for name in [
            "nodejs22",
            "nodejs",
            "python",
            "python313",
            "python3",
            "ruby3",
            "Python3.13",
            "node js22.x",
            "provided",
            "java",
            "3.13",
            "",
        ] {
            assert!(!is_runtime(name), "{name}");
        }
    }

    #[test]
    fn the_successor_is_of_the_same_language_and_supported_that_day() {
        for (name, day, next) in [
            ("nodejs18.x", "2026-11-30", "nodejs22.x"),
            ("nodejs22.x", "2027-05-01", "nodejs24.x"),
            ("python3.9", "2026-11-30", "python3.14"),
            ("dotnetcore3.1", "2026-11-30", "dotnet10"),
            ("java8", "2026-11-30", "java25"),
            ("go1.x", "2026-11-30", "provided.al2023"),
        ] {
            assert_eq!(successor(name, day), next, "{name}");
        }
    }
}
