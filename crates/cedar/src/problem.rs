//! What is wrong with policies, and where.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Policies that cannot be used.
#[derive(Debug, Error)]
pub enum PoliciesError {
    /// Of the file or folder.
    #[error("cannot read the policies in {}: {problem}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// Of the policies.
    #[error("{}", list(.0))]
    Policies(Vec<PolicyProblem>),
}

/// A problem of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The id of the policy; `None` where the text cannot be read as policies.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// `FILE:LINE: policy ID: MESSAGE`, as compilers write it.
impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(policy) = &self.policy {
            write!(f, "policy {policy}: ")?;
        }
        f.write_str(&self.message)
    }
}

fn list(problems: &[PolicyProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
