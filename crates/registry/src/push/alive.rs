//! Distinguishing pushes in progress from interrupted ones.

use std::fs::File;
use std::time::Duration;

use tidegate_store::Store;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::cache::Cache;
use crate::{Error, Registry, Result};

/// A push of another machine counts as interrupted if it has not renewed its record for this long.
const LEASE: Duration = Duration::from_secs(600);
// Twenty in a lease: a database that is away for minutes ends no push.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// A push under way. Its file is locked as long as the process lives, which other processes of this
/// machine can see.
pub(crate) struct Push {
    id: String,
    _lock: File,
    alive: JoinHandle<()>,
}

impl Push {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // Where the push did not end well, the next one finds its file unlocked and ends it.
        self.alive.abort();
    }
}

impl Registry {
    /// Begins a push, after ending interrupted ones.
    pub(crate) async fn begin_push(&self) -> Result<Push> {
        end_abandoned(&self.store, &self.cache, &self.actor).await?;
        let id = crate::digest::to_hex(&crate::keys::random::<16>()?);
        let (hidden, path) = (
            self.cache.pushes().join(format!(".{id}")),
            self.cache.pushes().join(&id),
        );
        // Others see the file once it is locked, and not before.
        let lock = File::create(&hidden).and_then(|file| file.lock().map(|()| file));
        let lock = lock.and_then(|file| std::fs::rename(&hidden, &path).map(|()| file));
        let lock = lock.map_err(|error| Error::file(&path, &error))?;
        let mut write = self.store.write(&self.actor).await?;
        write.begin_push(&id).await?;
        write.commit().await?;
        let (store, push) = (self.store.clone(), id.clone());
        let alive = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SIGN_OF_LIFE).await;
                if let Err(error) = store.keep_push_alive(&push).await {
                    warn!(%error, "cannot refresh the push in the database");
                }
            }
        });
        Ok(Push {
            id,
            _lock: lock,
            alive,
        })
    }
}

/// Ends the pushes of this machine whose process no longer exists, and those of other machines that
/// have not been renewed for long.
pub(crate) async fn end_abandoned(store: &Store, cache: &Cache, actor: &str) -> Result<()> {
    let mut gone = Vec::new();
    let folder = cache.pushes();
    for entry in std::fs::read_dir(&folder)
        .map_err(|error| Error::file(&folder, &error))?
        .flatten()
    {
        // A hidden file belongs to a push that may not have locked it yet.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let unlocked =
            !hidden && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if unlocked && let Ok(id) = entry.file_name().into_string() {
            gone.push((id, entry.path()));
        }
    }
    let mut write = store.write(actor).await?;
    for (id, _) in &gone {
        write.end_push(id).await?;
    }
    let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
    write.end_dead_pushes(lease).await?;
    write.commit().await?;
    // After the commit: should the database fail, the file is still there for the next try.
    for (_, path) in gone {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}
