//! The shared state of a group of replicas: counts that are added up, notes, and leases.

mod shared_counts;

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use self::shared_counts::{ADDED, RAISED, add, count, merged};
use crate::{Store, StoreError};

/// How long a silent replica is remembered: longer than any of its counts.
const REMEMBERED_MS: i64 = 100 * 86_400_000;
/// How long a withdrawn note is remembered, for replicas that were disconnected.
const TAKEN_BACK_MS: i64 = 7 * 86_400_000;

/// Rows in one statement: far below what the databases allow.
const ROWS_AT_ONCE: usize = 500;

/// A server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its id, the same as long as it has its data folder.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// When it last exchanged anything, in milliseconds since 1970, by the database's clock.
    pub seen_ms: i64,
}

/// Requests of an objective in one bucket of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCount {
    /// The objective whose requests are counted.
    pub objective: String,
    /// The width of the bucket, in milliseconds.
    pub width_ms: i64,
    /// Unix time over the width.
    pub bucket: i64,
    /// Good requests.
    pub good: i64,
    /// All requests that count.
    pub total: i64,
}

/// What a replica adds to the counts of its group.
#[derive(Clone, Copy, Debug)]
pub struct Addition<'a> {
    /// The group.
    pub group: &'a str,
    /// The replica's [`Replica::id`].
    pub replica: &'a str,
    /// The replica's [`Replica::name`].
    pub name: &'a str,
    /// Its number: an addition is made once, even if it is sent several times. The next one has a
    /// larger number.
    pub number: i64,
    /// The last of its additions that is known to have been made.
    pub acknowledged: i64,
    /// The last change of the group that the replica has read.
    pub seen: i64,
    /// The counts.
    pub counts: &'a [SharedCount],
}

/// How many buckets of a width are kept of each objective: the newest ones.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// The width.
    pub width_ms: i64,
    /// How many.
    pub buckets: i64,
}

/// Information for all replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its kind, such as `silence`.
    pub kind: String,
    /// Its name among those of its kind.
    pub name: String,
    /// Its content; `None` if it was withdrawn.
    pub body: Option<String>,
}

/// The changes of a group since an earlier change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedNews {
    /// The last change, from which to read the next time.
    pub change: i64,
    /// Another one after a replica has given a restored database its counts: everything must be
    /// read again then.
    pub epoch: Option<String>,
    /// The present counts of all replicas together.
    pub counts: Vec<SharedCount>,
    /// The present notes.
    pub notes: Vec<Note>,
}

impl Store {
    /// The number of the last addition of a replica that was made; 0 if there was none.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_addition(&self, group: &str, replica: &str) -> Result<i64, StoreError> {
        last_addition(self.pool(), group, replica).await
    }

    /// Makes an addition, unless it was made already, and notes that the replica is there. `false`
    /// where the database no longer has an earlier addition: it was restored from a backup, or is
    /// another one. Then nothing is done.
    ///
    /// # Errors
    /// [`StoreError`] of the database. Whether the addition was made is then not known: try it
    /// again.
    pub async fn add_counts(&self, addition: Addition<'_>) -> Result<bool, StoreError> {
        let Addition {
            group,
            replica,
            number,
            acknowledged,
            seen,
            counts,
            ..
        } = addition;
        // The number is taken first: its row stays locked until the commit, so no other addition
        // comes between reading and writing.
        let mut write = self.begin().await?;
        let change = next_change(write.connection()).await?;
        let last = last_addition(write.connection(), group, replica).await?;
        if last < acknowledged || change <= seen {
            return Ok(false);
        }
        let is_new = number > last;
        let now_ms = self.clock_on(write.connection()).await?;
        note_replica(write.connection(), &addition, number, now_ms).await?;
        // An addition that was made, and whose answer was lost, is sent again: it must not count
        // twice.
        if is_new {
            // Many at once: each statement is a round trip, and all others wait for this change.
            for counts in merged(counts).chunks(ROWS_AT_ONCE) {
                add(write.connection(), group, counts, change, ADDED).await?;
            }
        }
        write.commit().await?;
        Ok(true)
    }

    /// Gives a database that was restored or replaced what the replica knows of the group's counts,
    /// where that is more than it has.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn raise_counts(
        &self,
        addition: Addition<'_>,
        known: &[SharedCount],
    ) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        let change = next_change(write.connection()).await?;
        let now_ms = self.clock_on(write.connection()).await?;
        let epoch = format!("{}-{change}-{now_ms}", addition.replica);
        let sql = "INSERT INTO properties (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql)
            .bind(epoch_name(addition.group))
            .bind(epoch)
            .execute(write.connection())
            .await?;
        // Numbers that were given before the database was restored are not given again.
        let sql = "UPDATE counters SET value = $1 WHERE name = 'shared' AND value < $1";
        sqlx::query(sql)
            .bind(addition.seen)
            .execute(write.connection())
            .await?;
        let acknowledged = addition.acknowledged;
        note_replica(write.connection(), &addition, acknowledged, now_ms).await?;
        for counts in merged(known).chunks(ROWS_AT_ONCE) {
            add(write.connection(), addition.group, counts, change, RAISED).await?;
        }
        write.commit().await
    }

    /// Everything of a group that changed after the change `since`; 0 stands for everything.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn shared_news(&self, group: &str, since: i64) -> Result<SharedNews, StoreError> {
        // Read first: what commits meanwhile is read now and once more.
        let sql = "SELECT value FROM counters WHERE name = 'shared'";
        let change = sqlx::query(sql)
            .fetch_one(self.pool())
            .await?
            .try_get("value")?;
        let epoch = self.property(&epoch_name(group)).await?;
        let sql = "SELECT objective, width_ms, bucket, good, total FROM shared_counts \
                   WHERE replica_group = $1 AND change > $2";
        let counts = sqlx::query(sql)
            .bind(group)
            .bind(since)
            .fetch_all(self.pool())
            .await?;
        let sql = "SELECT kind, name, body FROM shared_notes WHERE replica_group = $1 AND change > $2 ORDER BY change";
        let notes = sqlx::query(sql)
            .bind(group)
            .bind(since)
            .fetch_all(self.pool())
            .await?;
        Ok(SharedNews {
            change,
            epoch,
            counts: counts.iter().map(count).collect::<Result<_, _>>()?,
            notes: notes.iter().map(note).collect::<Result<_, _>>()?,
        })
    }

    /// Leaves a note for all replicas of a group; the last one of a kind and name holds.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn leave_note(&self, group: &str, note: &Note) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        let change = next_change(write.connection()).await?;
        let now_ms = self.clock_on(write.connection()).await?;
        let sql = "INSERT INTO shared_notes (replica_group, kind, name, body, change, noted_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (replica_group, kind, name) \
                   DO UPDATE SET body = excluded.body, change = excluded.change, noted_ms = excluded.noted_ms";
        let query = sqlx::query(sql)
            .bind(group)
            .bind(&note.kind)
            .bind(&note.name)
            .bind(note.body.as_deref());
        query
            .bind(change)
            .bind(now_ms)
            .execute(write.connection())
            .await?;
        write.commit().await
    }

    /// Takes a lease that nobody has, or renews that of `holder`, and returns who has it then.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn hold_lease(
        &self,
        group: &str,
        duty: &str,
        holder: &str,
        length_ms: i64,
    ) -> Result<String, StoreError> {
        let mut write = self.begin().await?;
        let now_ms = self.clock_on(write.connection()).await?;
        // One statement decides, on both databases: of two replicas that ask at once, one finds the
        // row taken. The database's clock is used, so wrong clocks of replicas do no harm.
        let sql = "INSERT INTO leases (replica_group, duty, holder, until_ms) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (replica_group, duty) \
                   DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms \
                   WHERE leases.holder = excluded.holder OR leases.until_ms <= $5";
        let query = sqlx::query(sql).bind(group).bind(duty).bind(holder);
        query
            .bind(now_ms.saturating_add(length_ms))
            .bind(now_ms)
            .execute(write.connection())
            .await?;
        let sql = "SELECT holder FROM leases WHERE replica_group = $1 AND duty = $2";
        let row = sqlx::query(sql)
            .bind(group)
            .bind(duty)
            .fetch_one(write.connection())
            .await?;
        let holder = row.try_get("holder")?;
        write.commit().await?;
        Ok(holder)
    }

    /// Gives up a lease, if `holder` has it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn release_lease(
        &self,
        group: &str,
        duty: &str,
        holder: &str,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM leases WHERE replica_group = $1 AND duty = $2 AND holder = $3";
        sqlx::query(sql)
            .bind(group)
            .bind(duty)
            .bind(holder)
            .execute(self.writing_pool())
            .await?;
        Ok(())
    }

    /// The replicas of a group that exchanged something in the last `within_ms`, by name.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn replicas(&self, group: &str, within_ms: i64) -> Result<Vec<Replica>, StoreError> {
        let since_ms = self.clock_ms().await?.saturating_sub(within_ms);
        let sql = "SELECT id, name, seen_ms FROM replicas WHERE replica_group = $1 AND seen_ms >= $2 ORDER BY name, id";
        let rows = sqlx::query(sql)
            .bind(group)
            .bind(since_ms)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(replica).collect()
    }

    /// Removes what a group no longer needs: buckets beyond those of the tiers, and replicas and
    /// notes that are too old.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn prune_shared(
        &self,
        group: &str,
        tiers: &[Tier],
        longest_ms: i64,
    ) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        let now_ms = self.clock_on(write.connection()).await?;
        let sql = "DELETE FROM shared_counts WHERE replica_group = $1 AND bucket * width_ms < $2";
        let old_ms = now_ms.saturating_sub(longest_ms);
        sqlx::query(sql)
            .bind(group)
            .bind(old_ms)
            .execute(write.connection())
            .await?;
        // By count and not by age: an objective without traffic makes no new buckets, and its
        // newest ones stay whatever their age within `longest_ms`.
        for tier in tiers {
            let sql = "DELETE FROM shared_counts WHERE replica_group = $1 AND width_ms = $2 AND bucket <= \
                       (SELECT newer.bucket FROM shared_counts newer WHERE newer.replica_group = $1 \
                       AND newer.width_ms = $2 AND newer.objective = shared_counts.objective \
                       ORDER BY newer.bucket DESC LIMIT 1 OFFSET $3)";
            let query = sqlx::query(sql)
                .bind(group)
                .bind(tier.width_ms)
                .bind(tier.buckets);
            query.execute(write.connection()).await?;
        }
        let sql = "DELETE FROM replicas WHERE replica_group = $1 AND seen_ms < $2";
        let old_ms = now_ms.saturating_sub(REMEMBERED_MS);
        sqlx::query(sql)
            .bind(group)
            .bind(old_ms)
            .execute(write.connection())
            .await?;
        // Only notes that were taken back: one that holds does not expire here.
        let sql =
            "DELETE FROM shared_notes WHERE replica_group = $1 AND body IS NULL AND noted_ms < $2";
        let old_ms = now_ms.saturating_sub(TAKEN_BACK_MS);
        sqlx::query(sql)
            .bind(group)
            .bind(old_ms)
            .execute(write.connection())
            .await?;
        write.commit().await
    }
}

fn epoch_name(group: &str) -> String {
    format!("shared_epoch:{group}")
}

/// Takes the next number. Its transaction is the only one that writes shared state until it ends.
async fn next_change(connection: impl Executor<'_, Database = Any>) -> Result<i64, StoreError> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'shared' RETURNING value";
    Ok(sqlx::query(sql)
        .fetch_one(connection)
        .await?
        .try_get("value")?)
}

async fn last_addition(
    connection: impl Executor<'_, Database = Any>,
    group: &str,
    replica: &str,
) -> Result<i64, StoreError> {
    let sql = "SELECT addition FROM replicas WHERE replica_group = $1 AND id = $2";
    let row = sqlx::query(sql)
        .bind(group)
        .bind(replica)
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| Ok(row.try_get("addition")?))
}

async fn note_replica(
    connection: impl Executor<'_, Database = Any>,
    addition: &Addition<'_>,
    number: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    // The larger number stays: with a smaller one, an addition that was made already could be made
    // again.
    let sql = "INSERT INTO replicas (replica_group, id, name, addition, seen_ms) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (replica_group, id) DO UPDATE SET name = excluded.name, seen_ms = excluded.seen_ms, \
               addition = CASE WHEN excluded.addition > replicas.addition THEN excluded.addition \
               ELSE replicas.addition END";
    let query = sqlx::query(sql)
        .bind(addition.group)
        .bind(addition.replica)
        .bind(addition.name)
        .bind(number)
        .bind(now_ms);
    query.execute(connection).await?;
    Ok(())
}

fn note(row: &AnyRow) -> Result<Note, StoreError> {
    Ok(Note {
        kind: row.try_get("kind")?,
        name: row.try_get("name")?,
        body: row.try_get("body")?,
    })
}

fn replica(row: &AnyRow) -> Result<Replica, StoreError> {
    Ok(Replica {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        seen_ms: row.try_get("seen_ms")?,
    })
}
