//! `tidegate registry events`.

use anyhow::Result;
use tidegate_registry::Registry;

use super::args::Events;
use crate::output::{print_line, timestamp};

pub(super) async fn events(registry: &Registry, args: &Events) -> Result<()> {
    let mut since = args.since;
    // The registry gives them in pages.
    loop {
        let events = registry.events_since(since).await?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        since = last.change;
        for event in events {
            let version = match event.version {
                Some(number) => format!(":{number}"),
                None => String::new(),
            };
            print_line!(
                "{} {} {} {}{version} by {} {}",
                event.change,
                timestamp(event.at_ms),
                event.kind,
                event.model,
                event.actor,
                event.detail
            );
        }
    }
}
