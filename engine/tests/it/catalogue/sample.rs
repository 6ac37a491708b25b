//! Source that is read by a test, in each form in which an error is made.

const SHARED: &str = "shared advice";

fn chained(name: &str) -> Diagnostic {
    let problem = format!("`{name}` is chained");
    Diagnostic::error(problem).why("not advice").hint("first").hint("second")
}

fn hinted_later(far: bool) -> Diagnostic {
    let diagnostic = Diagnostic::warning("it is hinted later");
    let diagnostic = diagnostic.why("not advice");
    match far {
        true => diagnostic.hint("by one arm"),
        false => diagnostic.hint("by the other"),
    }
}

fn in_pairs(what: Kind) -> Failure {
    let (name, hint) = match what {
        Kind::One => ("one", "what one needs"),
        Kind::Other => ("other", SHARED),
    };
    Failure::usage(format!("there is no {name} thing"), hint)
}

fn through_a_closure() -> Result<(), Diagnostic> {
    let refuse = |why: &str| Err(Diagnostic::error(format!("it is refused: {why}")).hint(advice(why)));
    if early() {
        return refuse("it comes too early");
    }
    refuse("it comes too late")
}

fn advice(why: &str) -> String {
    if why.is_empty() {
        return "go on".to_owned();
    }
    format!("wait until {} says so", "somebody")
}

impl Checker {
    fn shape(&mut self, span: Span) {
        self.error(span, "the shape is wrong", "write {} or []");
        self.problems.push(Problem::error(path(), "the property is wrong", SHARED));
        self.findings.push(Finding { problem: "the finding is found".into(), hint: format!("look {}", 3) });
    }

    fn pair(&mut self) {
        self.errors.push(("the pair is handed on", "with its advice"));
        self.counts.push(("not a pair of texts", 1));
    }

    fn row(&self, row: Change) -> Change {
        refused(row, "the row is refused".to_owned(), SHARED.to_owned())
    }

    fn aws(&self) -> AwsError {
        AwsError::own(Class::Throttled, "Call", "thing", "the call is throttled")
    }
}

enum LocalError {
    #[error("`{path}` is in the way", path = path.display())]
    InTheWay,
    #[error("{what}")]
    System { what: &'static str },
}

impl LocalError {
    fn hint(&self) -> String {
        match self {
            Self::InTheWay => "move it away".into(),
            Self::System { .. } => "mend the system".into(),
        }
    }
}

fn system() -> LocalError {
    LocalError::System { what: "the system says no" }
}

fn unreadable(error: &Error) -> Diagnostic {
    Diagnostic::error(error.to_string()).hint("nobody knows for what")
}

#[cfg(test)]
mod tests {
    fn made() -> Diagnostic {
        Diagnostic::error("only a test says this")
    }
}
