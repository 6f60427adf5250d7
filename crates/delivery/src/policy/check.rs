//! From a written policy to a valid one.

use super::condition::{Condition, Test};
use super::experiment;
use super::problem::{InvalidPolicy, PolicyProblem};
use super::split::Split;
use super::written::{Fallback, WrittenCondition, WrittenPolicy, WrittenRule};
use super::{
    MAX_CONDITIONS, MAX_FALLBACKS, MAX_RULES, MAX_SHADOWS, MAX_TEXT, MAX_VALUES, Rule, Shadow,
    TrafficPolicy,
};

/// How old an answer may be that is given again: 30 days, in milliseconds.
const MAX_AGE_MS: u64 = 30 * 24 * 3600 * 1000;

impl TryFrom<WrittenPolicy> for TrafficPolicy {
    type Error = InvalidPolicy;

    fn try_from(written: WrittenPolicy) -> Result<Self, Self::Error> {
        let mut problems = Vec::new();
        let split = Split::check(&written.versions, POLICY, &mut problems);
        check_count(
            POLICY,
            "rules",
            written.rules.len(),
            MAX_RULES,
            &mut problems,
        );
        let rules = check_rules(&written.rules, &mut problems);
        let experiments = experiment::check(&written.experiments, &mut problems);
        if let Some(cascade) = &written.cascade {
            cascade.check(&mut problems);
        }
        check_shadows(&written.shadows, &mut problems);
        check_fallbacks(&written.fallbacks, &mut problems);
        if !problems.is_empty() {
            return Err(InvalidPolicy(problems));
        }
        Ok(Self {
            split,
            sticky: written.sticky,
            rules,
            experiments,
            cascade: written.cascade,
            shadows: written.shadows,
            fallbacks: written.fallbacks,
        })
    }
}

const POLICY: &str = "the policy";

fn check_count(
    place: &str,
    what: &'static str,
    count: usize,
    most: usize,
    problems: &mut Vec<PolicyProblem>,
) {
    if count > most {
        let place = place.to_owned();
        problems.push(PolicyProblem::TooMany {
            place,
            what,
            count,
            most,
        });
    }
}

fn check_rules(written: &[WrittenRule], problems: &mut Vec<PolicyProblem>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::with_capacity(written.len());
    for (index, rule) in written.iter().enumerate() {
        if rule.name.is_empty() {
            problems.push(PolicyProblem::NoRuleName(index + 1));
        } else if rules.iter().any(|other| other.name == rule.name) {
            problems.push(PolicyProblem::DuplicateRule(rule.name.clone()));
        }
        rules.push(check_rule(rule, problems));
    }
    rules
}

fn check_rule(written: &WrittenRule, problems: &mut Vec<PolicyProblem>) -> Rule {
    let place = format!(
        "rule {:?}",
        written.name.chars().take(MAX_TEXT).collect::<String>()
    );
    check_text(&written.name, &place, problems);
    check_count(
        &place,
        "conditions",
        written.when.len(),
        MAX_CONDITIONS,
        problems,
    );
    if written.when.is_empty() {
        problems.push(PolicyProblem::NoConditions(place.clone()));
    }
    let conditions = written.when.iter();
    let when = conditions
        .filter_map(|one| check_condition(one, &place, problems))
        .collect();
    let split = Split::check(&written.versions, &place, problems);
    Rule {
        name: written.name.clone(),
        when,
        split,
    }
}

fn check_text(text: &str, place: &str, problems: &mut Vec<PolicyProblem>) {
    if text.len() > MAX_TEXT {
        let place = place.to_owned();
        problems.push(PolicyProblem::TooLong {
            place,
            most: MAX_TEXT,
        });
    }
}

fn check_condition(
    written: &WrittenCondition,
    place: &str,
    problems: &mut Vec<PolicyProblem>,
) -> Option<Condition> {
    let attribute = written.attribute.to_string();
    let Some(test) = only_test(written) else {
        problems.push(PolicyProblem::Tests {
            place: place.to_owned(),
            attribute,
        });
        return None;
    };
    match &test {
        Test::Equals(text) | Test::Prefix(text) => check_text(text, place, problems),
        Test::OneOf(texts) => {
            check_count(place, "values in one_of", texts.len(), MAX_VALUES, problems);
            texts
                .iter()
                .for_each(|text| check_text(text, place, problems));
            if texts.is_empty() {
                problems.push(PolicyProblem::NoValues {
                    place: place.to_owned(),
                    attribute,
                });
            }
        }
        Test::AtLeast(number) | Test::Below(number) if !number.is_finite() => {
            problems.push(PolicyProblem::NotFinite {
                place: place.to_owned(),
                attribute,
            });
        }
        Test::AtLeast(_) | Test::Below(_) | Test::Present(_) => {}
    }
    Some(Condition {
        attribute: written.attribute.clone(),
        test,
    })
}

/// The test of a condition, if it has exactly one.
fn only_test(written: &WrittenCondition) -> Option<Test> {
    let tests = [
        written.equals.clone().map(Test::Equals),
        written.one_of.clone().map(Test::OneOf),
        written.prefix.clone().map(Test::Prefix),
        written.at_least.map(Test::AtLeast),
        written.below.map(Test::Below),
        written.present.map(Test::Present),
    ];
    let mut tests = tests.into_iter().flatten();
    let first = tests.next()?;
    tests.next().is_none().then_some(first)
}

fn check_shadows(shadows: &[Shadow], problems: &mut Vec<PolicyProblem>) {
    check_count(POLICY, "shadows", shadows.len(), MAX_SHADOWS, problems);
    for (index, shadow) in shadows.iter().enumerate() {
        if shadows[..index]
            .iter()
            .any(|other| other.version == shadow.version)
        {
            problems.push(PolicyProblem::DuplicateShadow(shadow.version.clone()));
        }
    }
}

fn check_fallbacks(fallbacks: &[Fallback], problems: &mut Vec<PolicyProblem>) {
    check_count(
        POLICY,
        "fallbacks",
        fallbacks.len(),
        MAX_FALLBACKS,
        problems,
    );
    for (index, fallback) in fallbacks.iter().enumerate() {
        let place = index + 1;
        let set = [
            fallback.version.is_some(),
            fallback.endpoint.is_some(),
            fallback.cached_max_age_ms.is_some(),
        ];
        if set.iter().filter(|is_set| **is_set).count() != 1 {
            problems.push(PolicyProblem::Fallback(place));
        }
        if fallback
            .cached_max_age_ms
            .is_some_and(|age| age == 0 || age > MAX_AGE_MS)
        {
            problems.push(PolicyProblem::CachedAge(place));
        }
        if let Some(endpoint) = &fallback.endpoint {
            check_text(endpoint, &format!("fallback {place}"), problems);
        }
    }
}
