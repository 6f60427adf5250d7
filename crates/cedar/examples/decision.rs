//! How long decisions take: `cargo run --release -p tidegate-cedar --example decision`.

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Map, json};
use tidegate_cedar::{CedarPolicies, PolicyText};
use tidegate_gateway::{Extent, Identity, Permission, Principal};

/// Policies besides the one that decides.
const FURTHER_POLICIES: usize = 50;
const DECISIONS: usize = 200_000;

fn main() {
    let policies = CedarPolicies::parse(&PolicyText::of("policies.cedar", &text()))
        .expect("the policies are valid");
    let claims = Map::from_iter([("team".to_owned(), json!(["risk", "shop"]))]);
    let principal = Principal::User("ada@idp.example.com".into());
    let ada = Identity::new(principal, "acme", Vec::new()).with_claims(claims);
    let extent = Extent::One("fraud");
    println!("{} policies, nanoseconds of one decision", policies.len());
    report("cached", DECISIONS, || {
        black_box(policies.decide(&ada, Permission::Call, extent));
    });
    report("uncached", DECISIONS / 20, || {
        black_box(policies.evaluate(&ada, Permission::Call, extent));
    });
}

fn text() -> String {
    let mut text = r#"
        permit (principal, action == Tidegate::Action::"call", resource == Tidegate::Endpoint::"fraud")
        when { principal.hasTag("team") && principal.getTag("team").contains("risk") };
        forbid (principal, action == Tidegate::Action::"call", resource)
        when { resource.name like "secret*" }
        unless { principal.tenant == "risk" };
    "#
    .to_owned();
    for number in 0..FURTHER_POLICIES {
        text.push_str(&format!(
            "permit (principal == Tidegate::Principal::\"key:k{number}\", action, \
             resource == Tidegate::Endpoint::\"e{number}\");\n"
        ));
    }
    text
}

fn report(name: &str, count: usize, mut decide: impl FnMut()) {
    for _ in 0..count / 10 {
        decide();
    }
    let mut times: Vec<u64> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            decide();
            begin.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name:9} p50 {:6}  p99 {:6}  p99.9 {:6}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}
