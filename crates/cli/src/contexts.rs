//! Named servers, each with the credentials of this user for it, in a file that only this user can
//! read.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use crate::environment::configuration_folder;

/// The contexts of this user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// The name of the one that commands use.
    pub(crate) current: Option<String>,
    #[serde(rename = "context")]
    pub(crate) named: BTreeMap<String, Context>,
}

/// A server, and the credentials for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) url: String,
    pub(crate) token: String,
    /// The authorities that the server is verified with, if they are not those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether the user has agreed that the token is sent unencrypted over a network.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) insecure_http: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Without the token.
impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Contexts {
    /// Those in the file; none if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or if others can read it.
    pub(crate) fn read() -> Result<Self> {
        match path() {
            None => Ok(Self::default()),
            Some(path) => Self::read_from(&path),
        }
    }

    /// Changes those in the file. Of commands that run at the same time, each sees what the others have
    /// changed.
    ///
    /// # Errors
    /// That of the change, or if the file cannot be read or written.
    pub(crate) fn change<T>(change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let path = path().context("neither XDG_CONFIG_HOME nor HOME is set")?;
        Self::change_in(&path, change)
    }

    fn change_in<T>(path: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        // Until the end of the change. The system releases it however the process ends.
        let _lock = lock(path).with_context(|| format!("cannot lock {}", path.display()))?;
        let mut contexts = Self::read_from(path)?;
        let outcome = change(&mut contexts)?;
        let written = contexts.write_to(path);
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(outcome)
    }

    /// The one that commands use, if they are told of no server.
    pub(crate) fn current(&self) -> Option<&Context> {
        self.named.get(self.current.as_ref()?)
    }

    /// The one for a server: the current one, if it is of this server, or else another one that is.
    pub(crate) fn of_server(&self, url: &str) -> Option<&Context> {
        let mut all = self.current().into_iter().chain(self.named.values());
        all.find(|context| is_same_server(&context.url, url))
    }

    fn read_from(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("cannot read {shown}"))?,
        };
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            bail!(
                "other users can read {shown}, which has API keys: revoke them, `chmod 600` the file, \
                 and log in again"
            );
        }
        // Without the error of the parser: it may quote a key.
        toml::from_str(&text).map_err(|error| match error.span() {
            Some(span) => {
                let line = text[..span.start].lines().count().max(1);
                anyhow::anyhow!("{shown} cannot be parsed: something is wrong in line {line}")
            }
            None => anyhow::anyhow!("{shown} cannot be parsed"),
        })
    }

    fn write_to(&self, path: &Path) -> Result<()> {
        let folder = folder_of(path)?;
        // Only this user can read a temporary file. It is renamed: a command that reads meanwhile
        // sees the old file or the new one.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(toml::to_string(self)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// Waits until no other command changes the file.
fn lock(path: &Path) -> Result<File> {
    // Not the file itself, which is replaced. Never removed: two commands could then hold locks on two
    // files of this name.
    let file = File::create(folder_of(path)?.join("contexts.lock"))?;
    file.lock()?;
    Ok(file)
}

/// The folder of the file, which only this user can enter.
fn folder_of(path: &Path) -> Result<&Path> {
    let folder = path.parent().context("it has no folder")?;
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(folder)
}

fn path() -> Option<PathBuf> {
    Some(configuration_folder()?.join("contexts.toml"))
}

/// Whether what is sent to a server is readable on the way: plain HTTP, and not to this machine.
pub(crate) fn is_readable_on_the_way(url: &str) -> bool {
    let Some((scheme, host, ..)) = parts(url) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    scheme == "http" && !is_loopback
}

/// Whether two addresses are of one server: the same scheme, host, port and path. Addresses that
/// cannot be read are of none.
fn is_same_server(one: &str, other: &str) -> bool {
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn parts(url: &str) -> Option<(String, String, u16, String)> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?.to_owned(), uri.authority()?);
    // `http://known@other/` is the server `other`.
    if authority.as_str().contains('@') {
        return None;
    }
    let default_port = if scheme == "https" { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(default_port);
    let host = authority.host().to_ascii_lowercase();
    Some((
        scheme,
        host,
        port,
        uri.path().trim_end_matches('/').to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(url: &str, token: &str) -> Context {
        Context {
            url: url.to_owned(),
            token: token.to_owned(),
            ca_file: None,
            insecure_http: false,
        }
    }

    #[test]
    fn plain_http_to_another_machine_is_readable() {
        for url in [
            "http://models.internal:8000",
            "http://10.0.0.7",
            "http://[2001:db8::1]:8000",
            "http://127.0.0.1.evil:8000",
        ] {
            assert!(is_readable_on_the_way(url), "{url}");
        }
        for url in [
            "http://127.0.0.1:8000",
            "http://127.8.9.1",
            "http://[::1]:8000",
            "http://[::ffff:127.0.0.1]:8000",
            "http://LOCALHOST:8000",
            "https://models.internal",
        ] {
            assert!(!is_readable_on_the_way(url), "{url}");
        }
    }

    fn contexts() -> Contexts {
        let named = [
            ("a", context("http://one:8000", "first")),
            ("b", context("http://one:8000", "second")),
            ("c", context("https://two", "third")),
        ];
        Contexts {
            current: Some("b".to_owned()),
            named: named
                .map(|(name, context)| (name.to_owned(), context))
                .into(),
        }
    }

    #[test]
    fn a_token_is_for_the_server_of_its_context_only() {
        let contexts = contexts();
        for (url, wanted) in [
            ("http://one:8000/", "second"),
            ("http://ONE:8000", "second"),
            ("https://two", "third"),
            ("https://two:443/", "third"),
            ("http://one:8001", ""),
            ("http://one", ""),
            ("https://one:8000", ""),
            ("http://one:8000/other", ""),
            ("http://one:8000.evil", ""),
            ("http://one:8000@evil", ""),
            ("http://evil@one:8000", ""),
            ("http://two", ""),
            ("http://three:8000", ""),
            ("not a url", ""),
        ] {
            let found = contexts.of_server(url);
            assert_eq!(found.map_or("", |context| &context.token), wanted, "{url}");
        }
        assert_eq!(contexts.current().unwrap().token, "second");
    }

    #[test]
    fn the_file_is_read_only_if_nobody_else_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate/contexts.toml");
        assert_eq!(Contexts::read_from(&path).unwrap(), Contexts::default());
        contexts().write_to(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(Contexts::read_from(&path).unwrap(), contexts());
        contexts().write_to(&path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = Contexts::read_from(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn neither_errors_nor_debug_output_have_a_token() {
        assert!(!format!("{:?}", contexts()).contains("second"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        contexts().write_to(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let broken = text.replace("\"second\"", "\"second\" oops");
        fs::write(&path, broken).unwrap();
        let error = Contexts::read_from(&path).unwrap_err();
        let told = format!("{error:#} {error:?}");
        assert!(!told.contains("second") && told.contains("line"), "{told}");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate/contexts.toml");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let added = Context {
                        url: format!("http://host-{number}"),
                        token: String::new(),
                        ca_file: None,
                        insecure_http: false,
                    };
                    Contexts::change_in(path, |contexts| {
                        contexts.named.insert(number.to_string(), added);
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(Contexts::read_from(&path).unwrap().named.len(), 8);
    }
}
