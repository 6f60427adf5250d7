//! Pushes in progress. The objects that they need are not collected as garbage.

use crate::{Store, StoreError, Write};

impl Store {
    /// Renews a push that is still in progress; `false` if it is no longer known.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn keep_push_alive(&self, push: &str) -> Result<bool, StoreError> {
        let now = self.clock_ms().await?;
        let sql = "UPDATE pushes SET alive_ms = $2 WHERE id = $1";
        let known = sqlx::query(sql)
            .bind(push)
            .bind(now)
            .execute(self.writing_pool())
            .await?
            .rows_affected()
            > 0;
        // Also of its uploads: should the push end without finishing them, their grace period
        // begins at its last sign of life.
        let sql = "UPDATE uploads SET alive_ms = $2 WHERE push = $1";
        sqlx::query(sql)
            .bind(push)
            .bind(now)
            .execute(self.writing_pool())
            .await?;
        Ok(known)
    }
}

impl Write {
    /// Begins a push.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn begin_push(&mut self, push: &str) -> Result<(), StoreError> {
        let (actor, now_ms) = (self.actor().to_owned(), self.now_ms());
        let sql = "INSERT INTO pushes (id, actor, alive_ms) VALUES ($1, $2, $3)";
        sqlx::query(sql)
            .bind(push)
            .bind(actor)
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Records that a push needs an object, whether it exists already or not yet.
    ///
    /// # Errors
    /// [`StoreError`] of the database, also if the push is no longer known.
    pub async fn count_on(&mut self, push: &str, digest: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO push_objects (push, digest) VALUES ($1, $2) ON CONFLICT (push, digest) DO NOTHING";
        sqlx::query(sql)
            .bind(push)
            .bind(digest)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Ends a push, whether it succeeded or not. Its unfinished uploads stay for the next one.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn end_push(&mut self, push: &str) -> Result<(), StoreError> {
        for sql in [
            // Children first: a foreign key points from them to the push.
            "DELETE FROM push_objects WHERE push = $1",
            "DELETE FROM pushes WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(push)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Ends the pushes that gave no sign of life in the last `within_ms`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn end_dead_pushes(&mut self, within_ms: i64) -> Result<(), StoreError> {
        let since_ms = self.now_ms().saturating_sub(within_ms);
        for sql in [
            "DELETE FROM push_objects WHERE push IN (SELECT id FROM pushes WHERE alive_ms < $1)",
            "DELETE FROM pushes WHERE alive_ms < $1",
        ] {
            sqlx::query(sql)
                .bind(since_ms)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }
}
