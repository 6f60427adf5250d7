//! Policies as they were read: checked, named, and with the lines where they stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use crate::checks::{self, ClaimUse};
use crate::schema::SCHEMA;
use crate::{PoliciesError, PolicyProblem, PolicyText};

/// Policies without errors.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) policies: Vec<Policy>,
    /// The claims that policies read.
    pub(crate) claims: Vec<ClaimUse>,
    /// What looks wrong, and does no harm.
    pub(crate) warnings: Vec<PolicyProblem>,
}

/// One file, with the names of its policies.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    /// From the ids that Cedar counts to those that people read, with the place where each begins.
    named: BTreeMap<PolicyId, (String, usize)>,
}

impl Parsed {
    /// Reads policies.
    ///
    /// # Errors
    /// Every problem that there is.
    pub(crate) fn of(text: &PolicyText) -> Result<Self, PoliciesError> {
        let mut parsed = Self::default();
        let mut problems = Vec::new();
        let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (path, text) in &text.files {
            let (file, policies) = match File::parse(path, text) {
                Ok(found) => found,
                Err(found) => {
                    problems.extend(found);
                    continue;
                }
            };
            for (name, begin) in file.named.values() {
                if let Some(other) = names.insert(name.clone(), path.clone()) {
                    let message = format!("{} has a policy of the same @id", other.display());
                    problems.push(file.problem(Some(name), *begin, message));
                }
            }
            file.validate(&policies, &mut problems, &mut parsed.warnings);
            for policy in policies.policies() {
                problems.extend(file.check_literals(policy));
                parsed.claims.extend(file.claims(policy));
                let (name, _) = file.named(policy.id());
                parsed.policies.push(policy.new_id(PolicyId::new(name)));
            }
        }
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        match problems.is_empty() {
            true => Ok(parsed),
            false => Err(PoliciesError::Policies(problems)),
        }
    }
}

impl<'a> File<'a> {
    fn parse(path: &'a Path, text: &'a str) -> Result<(Self, PolicySet), Vec<PolicyProblem>> {
        let mut file = Self {
            path,
            text,
            named: BTreeMap::new(),
        };
        let policies: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            let problems = errors.iter().map(|error| {
                let place = place(error).unwrap_or(0);
                file.problem(None, place, described(error))
            });
            problems.collect::<Vec<_>>()
        })?;
        if let Some(template) = policies.templates().next() {
            let place = text.find(template.to_cedar().as_str()).unwrap_or(0);
            let message = "it is a template (?principal, ?resource), which nothing here fills in";
            return Err(vec![file.problem(None, place, message.to_owned())]);
        }
        file.named = file.names(&policies);
        Ok((file, policies))
    }

    /// The names of all policies: their `@id`, or the name of the file with their number in it.
    fn names(&self, policies: &PolicySet) -> BTreeMap<PolicyId, (String, usize)> {
        let stem = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut sorted: Vec<&Policy> = policies.policies().collect();
        sorted.sort_by_key(|policy| number(policy.id()));
        let mut end = 0;
        let mut names = BTreeMap::new();
        for (index, policy) in sorted.into_iter().enumerate() {
            // Cedar keeps the text of a policy as it is in the file.
            let own = policy.to_cedar().unwrap_or_default();
            let begin = self.text[end..]
                .find(own.as_str())
                .map_or(end, |at| end + at);
            end = begin + own.len().min(self.text.len() - begin);
            let name = match policy.annotation("id") {
                Some(id) if !id.is_empty() => id.to_owned(),
                _ => format!("{stem}#{}", index + 1),
            };
            names.insert(policy.id().clone(), (name, begin));
        }
        names
    }

    fn named(&self, id: &PolicyId) -> (&str, usize) {
        self.named
            .get(id)
            .map_or(("", 0), |(name, begin)| (name.as_str(), *begin))
    }

    /// Checks the policies against the schema.
    fn validate(
        &self,
        policies: &PolicySet,
        errors: &mut Vec<PolicyProblem>,
        warnings: &mut Vec<PolicyProblem>,
    ) {
        let validator = Validator::new(SCHEMA.clone());
        let result = validator.validate(policies, ValidationMode::Strict);
        for error in result.validation_errors() {
            errors.push(self.found(error.policy_id(), error));
        }
        for warning in result.validation_warnings() {
            let problem = self.found(warning.policy_id(), warning);
            match warning {
                // What never applies forbids nothing, whatever its author believes. Where an error is the
                // reason, that says more.
                ValidationWarning::ImpossiblePolicy(_)
                | ValidationWarning::InvalidActionApplication(_) => {
                    if !errors.iter().any(|error| is_same_policy(error, &problem)) {
                        errors.push(problem);
                    }
                }
                _ => warnings.push(problem),
            }
        }
    }

    fn check_literals(&self, policy: &Policy) -> Vec<PolicyProblem> {
        let (name, begin) = self.named(policy.id());
        let wrong = policy.entity_literals();
        let messages = wrong.iter().filter_map(checks::wrong_entity);
        messages
            .map(|message| self.problem(Some(name), begin, message))
            .collect()
    }

    fn claims(&self, policy: &Policy) -> Vec<ClaimUse> {
        let (name, begin) = self.named(policy.id());
        let claims = checks::claims_of(policy).into_iter();
        claims
            .map(|claim| ClaimUse {
                place: self.problem(Some(name), begin, String::new()),
                claim,
            })
            .collect()
    }

    fn found<D: Diagnostic>(&self, policy: &PolicyId, problem: &D) -> PolicyProblem {
        let (name, begin) = self.named(policy);
        let place = place(problem).unwrap_or(begin);
        self.problem(Some(name), place, described(problem))
    }

    fn problem(&self, policy: Option<&str>, place: usize, message: String) -> PolicyProblem {
        let before = &self.text.as_bytes()[..place.min(self.text.len())];
        PolicyProblem {
            file: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            policy: policy.map(str::to_owned),
            message,
        }
    }
}

fn is_same_policy(one: &PolicyProblem, other: &PolicyProblem) -> bool {
    one.file == other.file && one.policy == other.policy
}

/// Where in the text a problem is.
fn place(problem: &dyn Diagnostic) -> Option<usize> {
    let label = problem.labels()?.next()?;
    Some(label.offset())
}

/// The message without the name that Cedar gave to the policy, with what helps.
fn described(problem: &dyn Diagnostic) -> String {
    let message = problem.to_string();
    let message = match message.strip_prefix("for policy `") {
        Some(rest) => rest.split_once("`, ").map_or(rest, |(_, rest)| rest),
        None => &message,
    };
    match problem.help() {
        None => message.to_owned(),
        Some(help) => format!("{message} ({help})"),
    }
}

/// The number that Cedar gave to a policy of a text: it calls them `policy0`, `policy1` …
fn number(id: &PolicyId) -> usize {
    let text = id.to_string();
    let digits = text.trim_start_matches(|sign: char| !sign.is_ascii_digit());
    digits.parse().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
