//! The table of sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::LoginConfig;
use crate::{Identity, KeyDigest, Principal};

/// Random bytes of the id of a session: 256 bits.
const ID_BYTES: usize = 32;
/// Most sessions of one principal, who could otherwise end those of all others.
const MAX_OF_ONE: usize = 100;

/// The sessions of a server, by the digests of their ids: who reads a dump of the process cannot take
/// over a session.
pub(crate) struct Sessions {
    table: Mutex<Table>,
    idle_timeout: Duration,
    max_age: Duration,
    max_sessions: usize,
}

type Table = HashMap<KeyDigest, Session>;

struct Session {
    holder: Holder,
    began: Instant,
    used: Instant,
}

/// Who has a session.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) principal: Principal,
    pub(crate) proof: Proof,
}

/// What the holder showed at the login.
#[derive(Clone)]
pub(crate) enum Proof {
    /// An API key. Each request looks up what it permits, so that the session ends with the key.
    Key(KeyDigest),
    /// An ID token, which said who it is.
    Token(Arc<Identity>),
}

/// The id of a session, which only the browser keeps.
pub(crate) struct SessionId(Zeroizing<String>);

impl SessionId {
    fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0u8; ID_BYTES]);
        getrandom::fill(&mut *bytes)?;
        let mut text = Zeroizing::new(String::with_capacity(2 * ID_BYTES));
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        Ok(Self(text))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Sessions {
    pub(crate) fn new(config: &LoginConfig) -> Self {
        Self {
            table: Mutex::default(),
            idle_timeout: Duration::from_secs(config.session_idle_timeout_s),
            max_age: Duration::from_secs(config.session_max_age_s),
            max_sessions: config.max_sessions,
        }
    }

    /// Begins a session, with an id that nobody knew before.
    pub(crate) fn begin(
        &self,
        holder: Holder,
        now: Instant,
    ) -> Result<SessionId, getrandom::Error> {
        let id = SessionId::generate()?;
        let mut table = self.table.lock();
        table.retain(|_, session| !self.has_ended(session, now));
        if sessions_of(&table, &holder.principal).count() >= MAX_OF_ONE {
            remove_least_used(&mut table, Some(&holder.principal));
        }
        if table.len() >= self.max_sessions {
            remove_least_used(&mut table, None);
        }
        let session = Session {
            holder,
            began: now,
            used: now,
        };
        table.insert(KeyDigest::of(id.reveal()), session);
        Ok(id)
    }

    /// Who has a session.
    pub(crate) fn holder(&self, id: &str, now: Instant) -> Option<Holder> {
        let table = self.table.lock();
        let session = table.get(&KeyDigest::of(id))?;
        (!self.has_ended(session, now)).then(|| session.holder.clone())
    }

    /// Who has a session, for a request, which keeps the session from being idle.
    pub(crate) fn use_by_holder(&self, id: &str, now: Instant) -> Option<Holder> {
        let mut table = self.table.lock();
        let session = table.get_mut(&KeyDigest::of(id))?;
        if self.has_ended(session, now) {
            return None;
        }
        session.used = now;
        Some(session.holder.clone())
    }

    pub(crate) fn end(&self, id: &str) {
        self.table.lock().remove(&KeyDigest::of(id));
    }

    fn has_ended(&self, session: &Session, now: Instant) -> bool {
        now.duration_since(session.used) >= self.idle_timeout
            || now.duration_since(session.began) >= self.max_age
    }
}

fn sessions_of<'a>(
    table: &'a Table,
    principal: &'a Principal,
) -> impl Iterator<Item = (&'a KeyDigest, &'a Session)> {
    table
        .iter()
        .filter(move |(_, session)| session.holder.principal == *principal)
}

/// Ends the session that was used the longest ago, of one principal or of all.
fn remove_least_used(table: &mut Table, principal: Option<&Principal>) {
    let least_used = match principal {
        Some(principal) => sessions_of(table, principal).min_by_key(|(_, session)| session.used),
        None => table.iter().min_by_key(|(_, session)| session.used),
    };
    if let Some(id) = least_used.map(|(id, _)| *id) {
        table.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(max_sessions: usize) -> Sessions {
        Sessions::new(&LoginConfig {
            session_idle_timeout_s: 60,
            session_max_age_s: 100,
            max_sessions,
            ..LoginConfig::default()
        })
    }

    fn holder(name: &str) -> Holder {
        Holder {
            principal: Principal::ApiKey(name.into()),
            proof: Proof::Key(KeyDigest::of(name)),
        }
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_when_it_is_old() {
        let (sessions, start) = (sessions(9), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = sessions.begin(holder("ada"), start).unwrap();
        assert_eq!(id.reveal().len(), 64);
        assert!(sessions.holder(id.reveal(), at(59)).is_some());
        assert!(sessions.holder(id.reveal(), at(60)).is_none());
        assert!(sessions.use_by_holder(id.reveal(), at(59)).is_some());
        assert!(sessions.use_by_holder(id.reveal(), at(99)).is_some());
        assert!(sessions.use_by_holder(id.reveal(), at(100)).is_none());
    }

    #[test]
    fn a_further_session_ends_the_one_that_was_used_the_longest_ago() {
        let (sessions, start) = (sessions(2), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = sessions.begin(holder("ada"), at(0)).unwrap();
        let second = sessions.begin(holder("bob"), at(1)).unwrap();
        sessions.use_by_holder(first.reveal(), at(2));
        let third = sessions.begin(holder("eve"), at(3)).unwrap();
        assert!(sessions.holder(second.reveal(), at(3)).is_none());
        for stays in [&first, &third] {
            assert!(sessions.holder(stays.reveal(), at(3)).is_some());
        }
        // What has ended makes room first.
        sessions.begin(holder("bob"), at(62)).unwrap();
        assert!(sessions.holder(third.reveal(), at(62)).is_some());
    }

    #[test]
    fn many_logins_of_one_principal_end_no_session_of_another() {
        let (sessions, now) = (sessions(MAX_OF_ONE + 1), Instant::now());
        let other = sessions.begin(holder("bob"), now).unwrap();
        let first = sessions.begin(holder("ada"), now).unwrap();
        for second in 1..=u64::try_from(MAX_OF_ONE).unwrap() {
            let at = now + Duration::from_millis(second);
            sessions.begin(holder("ada"), at).unwrap();
        }
        assert!(sessions.holder(other.reveal(), now).is_some());
        assert!(sessions.holder(first.reveal(), now).is_none());
    }

    #[test]
    fn an_id_that_was_never_given_or_was_ended_opens_nothing() {
        let (sessions, now) = (sessions(9), Instant::now());
        let id = sessions.begin(holder("ada"), now).unwrap();
        assert!(sessions.holder("", now).is_none() && sessions.holder("0", now).is_none());
        sessions.end(id.reveal());
        assert!(sessions.holder(id.reveal(), now).is_none());
    }
}
