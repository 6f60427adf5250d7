//! How long the choice of a version takes: `cargo run --release --example choose_speed`.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use tidegate_delivery::assign::{Assignment, Router};
use tidegate_delivery::policy::{Attribute, TrafficPolicy};

const CHOICES: u32 = 10_000_000;

const PLAIN: &str = "versions = [{ version = 1, weight = '95%' }, { version = 2, weight = '5%' }]";
const RULES: &str = r#"
    versions = [{ version = 1, weight = "95%" }, { version = 2, weight = "5%" }]
    shadows = [{ version = 3, share = "10%" }]
    [[rules]]
    name = "beta"
    when = [{ attribute = "header:x-beta", equals = "1" }]
    versions = [{ version = 2 }]
    [[rules]]
    name = "large"
    when = [{ attribute = "tenant", one_of = ["a", "b", "c"] }]
    versions = [{ version = 2 }]
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sticky = format!("sticky = 'header:x-user'\n{PLAIN}");
    let all = format!("sticky = 'header:x-user'\n{RULES}");
    println!("| policy | ns a choice |\n|---|---|");
    for (name, text) in [
        ("weights", PLAIN),
        ("sticky", &sticky),
        ("sticky, 2 rules, shadow", &all),
    ] {
        let policy: TrafficPolicy = toml::from_str(text)?;
        let router = Router::new(&policy, &Assignment::new("fraud", &policy), 0)?;
        let start = Instant::now();
        for _ in 0..CHOICES {
            let choice = router.choose(black_box(value));
            black_box(router.shadows(choice.version).count());
        }
        let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(CHOICES);
        println!("| {name} | {nanoseconds:.1} |");
    }
    Ok(())
}

fn value(attribute: &Attribute) -> Option<Cow<'static, str>> {
    match attribute {
        Attribute::Header(name) if name == "x-user" => {
            Some("5f0c8a52-9f5e-4bd0-8a4b-0f8a0e7a0d5d".into())
        }
        Attribute::Tenant => Some("acme".into()),
        _ => None,
    }
}
