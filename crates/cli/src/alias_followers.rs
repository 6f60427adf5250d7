//! Whether running servers follow a move of an alias. The registry knows which versions they use,
//! so a move without effect is told at once instead of when somebody looks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use tidegate_registry::Registry;

use crate::output::{counted, eprint_line};

/// How long servers have to load the other version. They look for changes four times a second.
const PATIENCE: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(100);

/// The servers that use some version of a model, and those that use the version of an alias.
pub(crate) struct AliasFollowers {
    model: String,
    users: BTreeSet<String>,
    followers: BTreeSet<String>,
}

impl AliasFollowers {
    /// Of an alias that has not moved yet; `from` is its version.
    pub(crate) async fn before_move(registry: &Registry, model: &str, from: i64) -> Result<Self> {
        Ok(Self {
            model: model.to_owned(),
            users: servers(registry, model, None).await?,
            followers: servers(registry, model, Some(from)).await?,
        })
    }

    /// Waits for the followers to use the version that the alias means now, and tells who does not.
    pub(crate) async fn report(&self, registry: &Registry, to: i64) {
        // The alias has moved, whatever becomes of this.
        if let Err(error) = self.wait(registry, to).await {
            eprint_line!("warning: cannot tell whether servers follow the alias: {error:#}");
        }
    }

    async fn wait(&self, registry: &Registry, to: i64) -> Result<()> {
        let model = &self.model;
        if self.followers.is_empty() {
            if !self.users.is_empty() {
                eprint_line!(
                    "warning: {} from this registry, but the move of the alias does not affect them: they did not \
                     serve its previous version; `tidegate doctor` says why",
                    uses(self.users.len(), model),
                );
            }
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let switched = servers(registry, model, Some(to)).await?;
            let late = self.followers.difference(&switched).count();
            if late == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.warn(to, late);
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn warn(&self, to: i64, late: usize) {
        let model = &self.model;
        let of = counted(self.followers.len() as u64, "server");
        eprint_line!(
            "warning: {late} of {of} did not switch to {model}:{to} within {} s: it is still \
             loading or failed to load, rollouts are frozen, or fleet.versions does not follow \
             aliases; ask each with `tidegate doctor --url URL`",
            PATIENCE.as_secs()
        );
    }
}

fn uses(servers: usize, model: &str) -> String {
    match servers {
        1 => format!("1 server serves {model}"),
        count => format!("{count} servers serve {model}"),
    }
}

/// The servers that use a version of a model, or any of its versions.
async fn servers(
    registry: &Registry,
    model: &str,
    version: Option<i64>,
) -> Result<BTreeSet<String>> {
    let uses = registry.uses().await?.into_iter();
    let own = uses
        .filter(|one| one.model == model && version.is_none_or(|version| one.version == version));
    Ok(own.map(|one| one.server).collect())
}
