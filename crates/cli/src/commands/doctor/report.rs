//! Findings for people and for machines.

use serde_json::json;

use super::finding::{Finding, Severity};
use crate::output::printable;

/// The findings about a server.
pub(super) struct Report<'a> {
    pub(super) server: &'a str,
    pub(super) findings: Vec<Finding>,
}

impl Report<'_> {
    /// The worst finding first.
    pub(super) fn to_text(&self) -> String {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        // A stable sort: within a severity, findings stay in the order of the checklist.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut text = String::new();
        for finding in findings {
            let severity = finding.severity.name();
            let what = printable(&finding.what);
            text.push_str(&format!("{severity:<9} {}: {what}\n", finding.check));
            for (label, line) in [("next", &finding.next), ("runbook", &finding.runbook)] {
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

    /// One JSON object; `status` is the exit status.
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
        let counts = [
            self.count(Severity::Critical, "critical", "critical"),
            self.count(Severity::Warning, "warning", "warnings"),
            self.count(Severity::Notice, "notice", "notices"),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        match counts.is_empty() {
            true => "no problems found".to_owned(),
            false => counts.join(", "),
        }
    }

    /// `None` if there are none of this severity.
    fn count(&self, severity: Severity, one: &str, many: &str) -> Option<String> {
        let count = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        }
    }
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
            "text from the server cannot move the cursor"
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
