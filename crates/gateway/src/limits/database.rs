//! Quotas in the metadata database.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidegate_store::{QuotaLease, QuotaUse, Store, StoreError, now_ms};

use super::quota::{QuotaStore, QuotaUnavailable};

/// Quotas that all servers share that use the same database. It is opened by the first lease.
#[derive(Debug)]
pub struct DatabaseQuotas {
    database: String,
    store: Mutex<Option<Store>>,
}

impl DatabaseQuotas {
    /// Quotas in the database at a path or URL.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            store: Mutex::default(),
        }
    }

    async fn store(&self) -> Result<Store, StoreError> {
        if let Some(store) = &*self.store.lock() {
            store.check_file()?;
            return Ok(store.clone());
        }
        // The lock is not held while it opens: two first requests may both open it, and the later
        // one is kept.
        let store = Store::open(&self.database).await?;
        store.forget_old_quotas(now_ms()).await?;
        *self.store.lock() = Some(store.clone());
        Ok(store)
    }

    /// The failed database is opened again the next time: another file may be at its path by then.
    fn failed(&self, error: &StoreError) -> QuotaUnavailable {
        *self.store.lock() = None;
        QuotaUnavailable(error.to_string())
    }

    async fn try_lease(&self, request: QuotaUse<'_>) -> Result<QuotaLease, StoreError> {
        self.store().await?.lease_quota(request).await
    }
}

impl QuotaStore for DatabaseQuotas {
    fn lease<'a>(
        &'a self,
        request: QuotaUse<'a>,
    ) -> BoxFuture<'a, Result<QuotaLease, QuotaUnavailable>> {
        Box::pin(async move {
            let lease = self.try_lease(request).await;
            lease.map_err(|error| self.failed(&error))
        })
    }

    fn give_back<'a>(
        &'a self,
        quota: &'a str,
        period_ms: i64,
        count: u64,
    ) -> BoxFuture<'a, Result<(), QuotaUnavailable>> {
        Box::pin(async move {
            let store = self.store().await.map_err(|error| self.failed(&error))?;
            let given = store.give_back_quota(quota, period_ms, count).await;
            given.map_err(|error| self.failed(&error))
        })
    }
}
