//! `kill -9` at random moments: the registry opens, what was acknowledged is there, nothing
//! half-made is to be seen.
//!
//! `TIDEGATE_CRASHES=200 cargo test -p tidegate-registry --test crash` takes more of them.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Fixture, noise, resolve};
use tidegate_registry::{PushOptions, Registry};

const ROLE: &str = "TIDEGATE_CRASH_ROLE";
const DATA: &str = "TIDEGATE_CRASH_DATA";
const SEED: &str = "TIDEGATE_CRASH_SEED";

/// What the worker said of its last steps: `try` before each, `done` after it.
#[derive(Debug, Default)]
struct Said {
    /// Digests of versions by number.
    pushed: BTreeMap<i64, String>,
    /// Where the alias may point: the last acknowledged move, and the one that was tried after it.
    alias: Vec<i64>,
    /// Versions whose deletion was tried.
    deleting: Vec<i64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["done", "push", number, digest] => {
                self.pushed
                    .insert(number.parse().unwrap(), (*digest).to_owned());
            }
            ["try", "alias", number] => self.alias.push(number.parse().unwrap()),
            ["done", "alias", number] => self.alias = vec![number.parse().unwrap()],
            ["try", "delete", number] => self.deleting.push(number.parse().unwrap()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_all_or_nothing() {
    let fixture = Fixture::new();
    let crashes: u64 = std::env::var("TIDEGATE_CRASHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8);
    let mut said = Said::default();
    for crash in 0..crashes {
        let mut cleaner = worker(&fixture, "clean", crash);
        let mut pusher = worker(&fixture, "push", crash);
        let random = u64::from_le_bytes(noise(crash + 1, 8).try_into().unwrap());
        let mut lines = BufReader::new(pusher.stdout.take().unwrap()).lines();
        // After a random step, and a random moment later: that it is a random one is what is
        // tested.
        for line in lines.by_ref().take(usize::try_from(random % 23).unwrap()) {
            said.hear(&line.unwrap());
        }
        std::thread::sleep(Duration::from_micros(random >> 20 & 0xffff));
        pusher.kill().unwrap();
        cleaner.kill().unwrap();
        lines
            .map_while(Result::ok)
            .for_each(|line| said.hear(&line));
        assert_eq!(
            (
                pusher.wait().unwrap().code(),
                cleaner.wait().unwrap().code()
            ),
            (None, None),
            "they ended by themselves"
        );
        check(&fixture, &said, crash).await;
    }
    assert!(said.pushed.len() > 2, "nothing was tested: {said:?}");
    let registry = fixture.open().await;
    registry.collect_garbage(Duration::ZERO).await.unwrap();
    let objects = registry.verify(&|_, _| {}).await.unwrap().objects;
    let files = support::files_below(&fixture.data().join("objects/objects"));
    assert_eq!(
        files.len(),
        objects,
        "what was cut off is cleared: {files:?}"
    );
}

async fn check(fixture: &Fixture, said: &Said, crash: u64) {
    let registry = fixture.open().await;
    let report = registry.verify(&|_, _| {}).await.unwrap();
    assert!(report.problems.is_empty(), "crash {crash}: {report:?}");
    let versions = registry.versions(None).await.unwrap();
    for (number, digest) in said
        .pushed
        .iter()
        .filter(|(number, _)| !said.deleting.contains(number))
    {
        let there = versions.iter().find(|version| version.number == *number);
        assert_eq!(
            there.map(|version| version.digest.to_string()).as_ref(),
            Some(digest),
            "crash {crash}: {said:?}"
        );
    }
    if !said.alias.is_empty() {
        let number = resolve(&registry, "fraud@champion").await.number;
        assert!(
            said.alias.contains(&number),
            "crash {crash}: the alias points at {number}: {said:?}"
        );
    }
    if let Some(version) = versions.last() {
        registry.fetch(version).await.unwrap();
    }
    registry.close().await;
}

fn worker(fixture: &Fixture, role: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "works_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(DATA, fixture.folder.path())
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: the process that the other one kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_until_it_is_killed() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let base = std::env::var(DATA).unwrap();
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let data = std::path::Path::new(&base).join("data");
    let registry = Registry::open(&Default::default(), &data, "worker")
        .await
        .unwrap();
    if role == "clean" {
        loop {
            registry.collect_garbage(Duration::ZERO).await.unwrap();
        }
    }
    let fixture = Fixture::new();
    println!();
    for step in seed * 1000.. {
        // Every fourth content takes several parts.
        let bytes = if step % 4 == 3 { 17 << 20 } else { 10_000 };
        let bundle = fixture.bundle(&noise(step, bytes));
        say("try push");
        let pushed = registry
            .push(&bundle, &PushOptions::default())
            .await
            .unwrap()
            .version;
        say(&format!("done push {} {}", pushed.number, pushed.digest));
        say(&format!("try alias {}", pushed.number));
        registry.set_alias("champion", &pushed).await.unwrap();
        say(&format!("done alias {}", pushed.number));
        let oldest = registry.versions(None).await.unwrap().remove(0);
        if pushed.number - oldest.number > 3 {
            say(&format!("try delete {}", oldest.number));
            registry.delete(&oldest).await.unwrap();
            say(&format!("done delete {}", oldest.number));
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
