//! The life of a version after its push: it is signed again, deprecated or deleted, and the data
//! keys of its contents are re-encrypted.

use serde_json::{Value, json};
use tidegate_store::{NewEvent, Signature, Version, VersionState, Write};

use crate::audit::audit;
use crate::registry::lease_ms;
use crate::trust::Statement;
use crate::{Error, ErrorCode, Registry, Result, VersionRecord};

impl Registry {
    /// Marks a version as deprecated, with a reason that users see. Without a reason the mark is
    /// removed.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it was deleted meanwhile.
    pub async fn deprecate(&self, version: &VersionRecord, reason: Option<&str>) -> Result<()> {
        let mut write = self.store.write(&self.actor).await?;
        let before = living(&mut write, version).await?;
        let (state, kind, action) = match reason {
            Some(_) => (
                VersionState::Deprecated,
                "version.deprecated",
                "version.deprecate",
            ),
            None => (VersionState::Ready, "version.restored", "version.restore"),
        };
        let reason = reason.unwrap_or_default();
        write
            .set_state(&version.model, version.number, state, reason)
            .await?;
        let detail = json!({"reason": reason});
        write
            .record(NewEvent {
                kind,
                model: &version.model,
                version: Some(version.number),
                detail,
            })
            .await?;
        let states = (
            state_of(before.state, &before.reason),
            state_of(state, reason),
        );
        audit(&mut write, action, ("version", &version.name()), states).await?;
        Ok(write.commit().await?)
    }

    /// Deletes a version. Its number is not used again; its contents go with the next garbage
    /// collection.
    ///
    /// # Errors
    /// [`ErrorCode::InUse`] names the aliases or servers that use it.
    pub async fn delete(&self, version: &VersionRecord) -> Result<()> {
        let mut write = self.store.write(&self.actor).await?;
        let (model, number) = (version.model.as_str(), version.number);
        let before = living(&mut write, version).await?;
        // In the transaction that deletes: no alias can be set in between.
        let aliases = write.aliases_of(model, number).await?;
        if !aliases.is_empty() {
            let problem = format!(
                "{} is in use: the alias {} points at it",
                version.name(),
                aliases.join(", ")
            );
            return Err(Error::new(ErrorCode::InUse, problem));
        }
        let servers = write.users_of(model, number, lease_ms()).await?;
        if !servers.is_empty() {
            let problem = format!(
                "{} is in use: {} serves it",
                version.name(),
                servers.join(", ")
            );
            return Err(Error::new(ErrorCode::InUse, problem));
        }
        write
            .set_state(model, number, VersionState::Deleted, "")
            .await?;
        let detail = json!({"digest": version.digest.to_string()});
        write
            .record(NewEvent {
                kind: "version.deleted",
                model,
                version: Some(number),
                detail,
            })
            .await?;
        let before = json!({"digest": before.digest, "state": before.state.name()});
        let states = (before, Value::Null);
        audit(
            &mut write,
            "version.delete",
            ("version", &version.name()),
            states,
        )
        .await?;
        Ok(write.commit().await?)
    }

    /// Records that a server could not load a version, and why.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn report_load_failure(
        &self,
        version: &VersionRecord,
        server: &str,
        reason: &str,
    ) -> Result<()> {
        let mut write = self.store.write(&self.actor).await?;
        let detail = json!({"server": server, "reason": reason});
        let (kind, model) = ("version.load_failed", version.model.as_str());
        write
            .record(NewEvent {
                kind,
                model,
                version: Some(version.number),
                detail,
            })
            .await?;
        Ok(write.commit().await?)
    }

    /// Signs a version with this machine's key, in addition to the signatures that it has; gives
    /// the key's id.
    ///
    /// # Errors
    /// [`ErrorCode::KeyUnavailable`] if there is no key that is not revoked.
    pub async fn sign(&self, version: &VersionRecord) -> Result<String> {
        let keys = self.cache.keys()?;
        let Some((id, key)) = keys.signer() else {
            let problem =
                "this machine has no valid signing key; create one with `tidegate keys generate`";
            return Err(Error::new(ErrorCode::KeyUnavailable, problem));
        };
        // A signature must not vouch for a list of files that was changed in the database.
        self.entry(version).await?.check_digest()?;
        let mut write = self.store.write(&self.actor).await?;
        living(&mut write, version).await?;
        let statement = Statement {
            model: &version.model,
            number: version.number,
            digest: version.digest,
        };
        let signature = Signature {
            key_id: id.to_string(),
            signature: statement.sign(key),
            signed_ms: write.now_ms(),
        };
        write
            .add_signature(&version.model, version.number, &signature)
            .await?;
        let detail = json!({"key": id.as_str()});
        let (kind, model) = ("version.signed", version.model.as_str());
        write
            .record(NewEvent {
                kind,
                model,
                version: Some(version.number),
                detail,
            })
            .await?;
        let states = (Value::Null, json!({"key": id.as_str()}));
        audit(
            &mut write,
            "version.sign",
            ("version", &version.name()),
            states,
        )
        .await?;
        write.commit().await?;
        Ok(id.to_string())
    }

    /// Wraps the data keys of all encrypted contents with the current key, if another key wraps
    /// them. Contents do not change. Returns the number of keys that were wrapped again.
    ///
    /// # Errors
    /// [`ErrorCode::WrongKey`] if a key that wraps one of them is not configured; keys that were
    /// wrapped before stay so.
    pub async fn rewrap_keys(&self) -> Result<usize> {
        let mut count = 0;
        for object in self.store.objects().await? {
            let Some(envelope) = object.envelope else {
                continue;
            };
            let Some(renewed) = self
                .keyring
                .rewrap(&envelope, &object.digest.parse()?)
                .await?
            else {
                continue;
            };
            let mut write = self.store.write(&self.actor).await?;
            // A push may have replaced the object meanwhile: then its envelope is another one, and
            // new.
            let current = write.object(&object.digest).await?;
            if current.is_some_and(|current| current.envelope.as_ref() == Some(&envelope)) {
                write.rewrap(&object.digest, &renewed).await?;
                count += 1;
            }
            write.commit().await?;
        }
        if count > 0 {
            let mut write = self.store.write(&self.actor).await?;
            let states = (Value::Null, json!({"objects": count}));
            audit(&mut write, "registry.rewrap", ("", ""), states).await?;
            write.commit().await?;
        }
        Ok(count)
    }
}

fn state_of(state: VersionState, reason: &str) -> Value {
    json!({"state": state.name(), "reason": reason})
}

async fn living(write: &mut Write, version: &VersionRecord) -> Result<Version> {
    let there = write.version(&version.model, version.number).await?;
    there
        .filter(|there| there.state != VersionState::Deleted)
        .ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                format!("{} was deleted in the meantime", version.name()),
            )
        })
}
