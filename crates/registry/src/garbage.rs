//! Removing contents of the object store that nothing refers to any more.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tidegate_store::NewEvent;

use crate::audit::audit;
use crate::push::{end_abandoned, signed};
use crate::{Registry, Result};

/// What a garbage collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Contents of deleted versions.
    pub objects: i64,
    /// Their bytes in the object store.
    pub bytes: i64,
    /// Interrupted uploads.
    pub uploads: i64,
    /// Files in the object store that the database does not list.
    pub strays: i64,
}

impl Registry {
    /// Removes contents that no version has and no push has needed for `grace`; interrupted
    /// uploads; and files that the database does not list. It can be interrupted at any moment: the
    /// next run continues.
    ///
    /// # Errors
    /// [`crate::Error`] of the database or the object store.
    pub async fn collect_garbage(&self, grace: Duration) -> Result<Collected> {
        // The objects of another registry would all look like strays.
        self.claim_storage().await?;
        end_abandoned(&self.store, &self.cache, &self.actor).await?;
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let mut write = self.store.write(&self.actor).await?;
        let (objects, bytes) = write.collect_objects(grace_ms).await?;
        let uploads = write.collect_uploads(grace_ms).await?;
        let since_ms = write.now_ms().saturating_sub(grace_ms);
        if objects + uploads > 0 {
            let detail = json!({"objects": objects, "bytes": bytes, "uploads": uploads});
            write
                .record(NewEvent {
                    kind: "garbage.collected",
                    model: "",
                    version: None,
                    detail: detail.clone(),
                })
                .await?;
            let states = (Value::Null, detail);
            audit(&mut write, "garbage.collect", ("", ""), states).await?;
        }
        // The database first: what is cleared from the object store must not be found in it any
        // more.
        write.commit().await?;
        self.clear_garbage().await?;
        let strays = self.collect_strays(since_ms).await?;
        Ok(Collected {
            objects,
            bytes,
            uploads,
            strays,
        })
    }

    /// Removes what the database lists as garbage.
    async fn clear_garbage(&self) -> Result<()> {
        for garbage in self.store.garbage().await? {
            self.storage
                .clear(&garbage.location, garbage.multipart.as_deref())
                .await?;
            // Forgotten only after it was removed: an interrupted run tries the same location
            // again.
            self.store.cleared(&garbage.location).await?;
        }
        Ok(())
    }

    /// Removes files that appeared before `since_ms` and that the database does not list. Every upload is
    /// recorded before it begins, so that no push in progress is among them.
    async fn collect_strays(&self, since_ms: i64) -> Result<i64> {
        let mut strays = 0u64;
        let mut found = self.storage.list();
        while let Some(file) = found.try_next().await? {
            if file.modified_ms <= since_ms && !self.store.knows_location(&file.location).await? {
                self.storage.clear(&file.location, None).await?;
                strays += 1;
            }
        }
        Ok(signed(strays))
    }
}
