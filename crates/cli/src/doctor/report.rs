//! Findings for people and for machines.

use serde_json::json;

use super::finding::{Finding, Severity};
use crate::printable::printable;

/// What was found on a server.
pub(super) struct Report<'a> {
    pub(super) server: &'a str,
    pub(super) findings: Vec<Finding>,
}

impl Report<'_> {
    /// The worst first, what is well last and briefly.
    pub(super) fn to_text(&self) -> String {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut text = String::new();
        for finding in findings {
            let Finding {
                severity,
                check,
                what,
                next,
                runbook,
            } = finding;
            text.push_str(&format!(
                "{:<9} {check}: {}\n",
                severity.name(),
                printable(what)
            ));
            for (label, line) in [("next", next), ("runbook", runbook)] {
                if let Some(line) = line {
                    text.push_str(&format!("{:<9} {label}: {}\n", "", printable(line)));
                }
            }
        }
        text.push_str(&format!(
            "\n{}: {}\n",
            printable(self.server),
            self.summary()
        ));
        text
    }

    /// One object; `status` is the exit status.
    pub(super) fn to_json(&self, status: u8) -> String {
        let report = json!({
            "server": self.server,
            "status": status,
            "summary": self.summary(),
            "findings": self.findings,
        });
        format!("{report:#}")
    }

    fn summary(&self) -> String {
        let count = |severity| {
            self.findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count()
        };
        let counts = [
            (Severity::Critical, "critical"),
            (Severity::Warning, "warning"),
            (Severity::Notice, "notice"),
        ];
        let counts = counts.map(|(severity, name)| (count(severity), name));
        let told: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(told)
            .collect();
        if told.is_empty() {
            "nothing is amiss".to_owned()
        } else {
            told.join(", ")
        }
    }
}

fn told((count, name): &(usize, &str)) -> String {
    let plural = if *count == 1 || *name == "critical" {
        ""
    } else {
        "s"
    };
    format!("{count} {name}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_with_its_next_step() {
        let findings = vec![
            Finding::new(Severity::Ok, "health", "ready"),
            Finding::new(Severity::Warning, "versions", "a\u{1b}[2Jb")
                .next("tidegate models")
                .runbook("not-ready"),
            Finding::new(Severity::Critical, "objectives", "spent"),
            Finding::new(Severity::Warning, "x", "y"),
        ];
        let report = Report {
            server: "http://a",
            findings,
        };
        let text = report.to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "critical  objectives: spent");
        assert_eq!(
            lines[1], "warning   versions: a\\u{1b}[2Jb",
            "what comes from outside moves no cursor"
        );
        assert_eq!(lines[2], "          next: tidegate models");
        assert!(lines[3].ends_with("docs/runbooks/not-ready.md"));
        assert_eq!(lines.last(), Some(&"http://a: 1 critical, 2 warnings"));
        let read: serde_json::Value = serde_json::from_str(&report.to_json(1)).unwrap();
        assert_eq!(
            (&read["status"], &read["findings"][1]["severity"]),
            (&json!(1), &json!("warning"))
        );
        assert_eq!(read["findings"][0].get("next"), None);
    }
}
