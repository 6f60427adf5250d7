//! Movable names of versions, and rollbacks.

use serde_json::{Value, json};
use tidegate_core::ModelName;
use tidegate_store::{AliasMove, MoveCause, NewEvent, VersionState, Write};

use crate::audit::audit;
use crate::reference::alias_name;
use crate::{Error, ErrorCode, Registry, Result, VersionRecord};

/// Where an alias points and where it pointed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHistory {
    /// The version that it points to; `None` if it was removed.
    pub version: Option<i64>,
    /// Every move, oldest first.
    pub moves: Vec<AliasMove>,
}

impl Registry {
    /// Points an alias at a version. Nothing happens if it points there already.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if there is no such version.
    pub async fn set_alias(&self, alias: &str, version: &VersionRecord) -> Result<()> {
        let alias = alias_name(alias)?;
        let mut write = self.store.write(&self.actor).await?;
        // Recorded, it would be a step in the history in which nothing moved.
        if write.alias(&version.model, &alias).await? == Some(version.number) {
            return Ok(());
        }
        // The version was resolved before this transaction began.
        let there = write.version(&version.model, version.number).await?;
        if there.is_none_or(|there| there.state == VersionState::Deleted) {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!("{} was deleted in the meantime", version.name()),
            ));
        }
        move_alias(
            &mut write,
            &version.model,
            &alias,
            Some(version.number),
            MoveCause::Set,
        )
        .await?;
        Ok(write.commit().await?)
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if there is none.
    pub async fn remove_alias(&self, model: &ModelName, alias: &str) -> Result<()> {
        let alias = alias_name(alias)?;
        let mut write = self.store.write(&self.actor).await?;
        if write.alias(model.as_str(), &alias).await?.is_none() {
            return Err(no_alias(model, &alias));
        }
        move_alias(&mut write, model.as_str(), &alias, None, MoveCause::Remove).await?;
        Ok(write.commit().await?)
    }

    /// Where an alias points and pointed.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it never pointed anywhere.
    pub async fn alias_history(&self, model: &ModelName, alias: &str) -> Result<AliasHistory> {
        let moves = self.store.alias_moves(model.as_str(), alias).await?;
        if moves.is_empty() {
            return Err(no_alias(model, alias));
        }
        Ok(AliasHistory {
            version: self.store.alias(model.as_str(), alias).await?,
            moves,
        })
    }

    /// Points an alias back at the last version that it pointed at before, that is still there, and
    /// that it was not itself rolled back from. Gives the version it left and the one it went to.
    ///
    /// # Errors
    /// [`ErrorCode::NothingToRollBackTo`] if there is none.
    pub async fn rollback(&self, model: &ModelName, alias: &str) -> Result<(i64, i64)> {
        let alias = alias_name(alias)?;
        let mut write = self.store.write(&self.actor).await?;
        let Some(current) = write.alias(model.as_str(), &alias).await? else {
            return Err(no_alias(model, &alias));
        };
        let moves = write.alias_moves(model.as_str(), &alias).await?;
        let mut target = None;
        for number in earlier(&moves)
            .into_iter()
            .rev()
            .filter(|number| *number != current)
        {
            // The newest earlier one first; versions that were deleted meanwhile are skipped.
            let version = write.version(model.as_str(), number).await?;
            if version.is_some_and(|version| version.state != VersionState::Deleted) {
                target = Some(number);
                break;
            }
        }
        let Some(target) = target else {
            let problem = format!(
                "{model}@{alias} points at {model}:{current} and has no earlier version to go back to"
            );
            return Err(Error::new(ErrorCode::NothingToRollBackTo, problem));
        };
        move_alias(
            &mut write,
            model.as_str(),
            &alias,
            Some(target),
            MoveCause::Rollback,
        )
        .await?;
        write.commit().await?;
        Ok((current, target))
    }

    /// The version that [`rollback`](Registry::rollback) would go to now.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn rollback_target(&self, model: &ModelName, alias: &str) -> Result<Option<i64>> {
        let current = self.store.alias(model.as_str(), alias).await?;
        let moves = self.store.alias_moves(model.as_str(), alias).await?;
        let present = self.versions(Some(model.as_str())).await?;
        let is_present = |number: i64| present.iter().any(|version| version.number == number);
        let earlier = earlier(&moves).into_iter().rev();
        Ok(earlier
            .filter(|number| Some(*number) != current)
            .find(|number| is_present(*number)))
    }
}

/// Moves an alias as part of a change, with its event and its row in the audit log.
///
/// # Errors
/// [`Error`] of the database, also if there is no such version.
pub async fn move_alias(
    write: &mut Write,
    model: &str,
    alias: &str,
    version: Option<i64>,
    cause: MoveCause,
) -> Result<()> {
    let from = write.alias(model, alias).await?;
    let kind = if version.is_some() {
        "alias.moved"
    } else {
        "alias.removed"
    };
    let detail = json!({"alias": alias, "from": from, "to": version, "cause": cause.name()});
    let change = write
        .record(NewEvent {
            kind,
            model,
            version,
            detail,
        })
        .await?;
    let action = match (version, cause) {
        (None, _) => "alias.remove",
        (_, MoveCause::Rollback) => "alias.rollback",
        _ => "alias.move",
    };
    let name = format!("{model}@{alias}");
    let states = (pointing_at(from), pointing_at(version));
    audit(write, action, ("alias", &name), states).await?;
    Ok(write
        .move_alias(model, alias, version, cause, change)
        .await?)
}

fn pointing_at(version: Option<i64>) -> Value {
    version.map_or(Value::Null, |version| json!({"version": version}))
}

/// The versions that an alias was set to and not rolled back from, oldest first: a rollback removes
/// those after the version that it went to.
fn earlier(moves: &[AliasMove]) -> Vec<i64> {
    let mut stack: Vec<i64> = Vec::new();
    for step in moves {
        match (step.cause, step.version) {
            (MoveCause::Set, Some(version)) => {
                stack.retain(|other| *other != version);
                stack.push(version);
            }
            (MoveCause::Rollback, Some(version)) => {
                match stack.iter().position(|other| *other == version) {
                    Some(at) => stack.truncate(at + 1),
                    None => stack.push(version),
                }
            }
            (_, None) | (MoveCause::Remove, Some(_)) => {}
        }
    }
    stack
}

fn no_alias(model: &ModelName, alias: &str) -> Error {
    Error::new(
        ErrorCode::NotFound,
        format!("there is no alias {model}@{alias}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(steps: &[(MoveCause, i64)]) -> Vec<AliasMove> {
        let step = |(at, (cause, version)): (usize, &(MoveCause, i64))| AliasMove {
            change: at as i64,
            version: (*cause != MoveCause::Remove).then_some(*version),
            cause: *cause,
            actor: String::new(),
            at_ms: 0,
        };
        steps.iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_version_that_was_rolled_back_from_is_no_target() {
        use MoveCause::{Remove, Rollback, Set};
        assert_eq!(earlier(&moves(&[(Set, 5), (Set, 6), (Set, 7)])), [5, 6, 7]);
        assert_eq!(
            earlier(&moves(&[(Set, 5), (Set, 6), (Set, 7), (Rollback, 6)])),
            [5, 6]
        );
        assert_eq!(
            earlier(&moves(&[
                (Set, 5),
                (Set, 6),
                (Set, 7),
                (Rollback, 6),
                (Set, 8)
            ])),
            [5, 6, 8]
        );
        assert_eq!(
            earlier(&moves(&[(Set, 5), (Set, 6), (Set, 7), (Rollback, 5)])),
            [5],
            "6 was skipped: deleted"
        );
        assert_eq!(
            earlier(&moves(&[(Set, 5), (Set, 6), (Rollback, 5), (Set, 6)])),
            [5, 6],
            "set again on purpose"
        );
        assert_eq!(earlier(&moves(&[(Set, 5), (Set, 6), (Set, 5)])), [6, 5]);
        assert_eq!(earlier(&moves(&[(Set, 5), (Remove, 0), (Set, 6)])), [5, 6]);
    }
}
