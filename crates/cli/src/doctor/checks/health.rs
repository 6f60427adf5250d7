//! Whether the server is ready, what it is, and since when it runs.

use crate::doctor::exam::{Exam, duration};
use crate::doctor::finding::{Finding, Severity};

const CHECK: &str = "health";
/// So many starts within the hours that are looked at are no deploys any more.
const MANY_STARTS: usize = 4;

pub(super) fn check(exam: &Exam) -> Vec<Finding> {
    let look = &exam.look;
    let mut findings = vec![match &look.not_ready {
        Some(why) => Finding::new(
            Severity::Critical,
            CHECK,
            format!("the server is not ready for traffic: {why}"),
        )
        .next(exam.command("models"))
        .runbook("not-ready"),
        None if look.problems.is_empty() => {
            Finding::new(Severity::Ok, CHECK, format!("ready, {}", identity(exam)))
        }
        None => {
            let what = format!(
                "ready, but {} amiss, {}",
                things(look.problems.len()),
                identity(exam)
            );
            Finding::new(Severity::Notice, CHECK, what)
        }
    }];
    let starts = exam
        .events()
        .filter(|event| event.name == "server.started")
        .count();
    if starts >= MANY_STARTS {
        let what = format!(
            "the process began {starts} times in the last {} h",
            exam.hours
        );
        findings.push(
            Finding::new(Severity::Warning, CHECK, what)
                .next(exam.curl("/api/events?name=server.started"))
                .runbook("down"),
        );
    }
    findings
}

fn things(count: usize) -> String {
    if count == 1 {
        "one thing is".to_owned()
    } else {
        format!("{count} things are")
    }
}

fn identity(exam: &Exam) -> String {
    let version = &exam.look.version;
    let began = exam.figures().value("process_start_time_seconds");
    let began = began.map(|began| exam.now_ms().saturating_sub((began * 1000.0) as u64));
    began.map_or_else(
        || format!("version {version}"),
        |up| format!("version {version}, up for {}", duration(up)),
    )
}
