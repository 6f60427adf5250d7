//! Commands to run next, as they can be pasted into a shell.

use crate::client::Access;
use crate::options::ServerUrl;
use crate::output::shell_word;

/// Commands for one server.
#[derive(Clone, Debug)]
pub(super) struct NextCommands {
    url: String,
    /// The options with which the server was verified.
    flags: String,
    /// Whether a call needs more than the address: a key, or an authority. `curl` would need them too,
    /// and the key must not be printed.
    needs_access: bool,
}

impl NextCommands {
    /// For the server at `url`, which these options name.
    pub(super) fn new(url: &str, options: &ServerUrl) -> Self {
        let has_token = Access::to(url).is_ok_and(|access| access.token().is_some());
        Self {
            flags: options.tls_flags(),
            needs_access: has_token || url.starts_with("https://"),
            ..Self::plain(url)
        }
    }

    /// For a server that needs neither.
    pub(super) fn plain(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            flags: String::new(),
            needs_access: false,
        }
    }

    /// A `tidegate` command.
    pub(super) fn command(&self, command: &str) -> String {
        format!(
            "tidegate {command} --url {}{}",
            shell_word(&self.url),
            self.flags
        )
    }

    /// What the server has at a path.
    pub(super) fn get(&self, path: &str) -> String {
        self.call("curl -s", "api", path)
    }

    /// The same with the status and the header fields, where that is as easy.
    pub(super) fn get_with_status(&self, path: &str) -> String {
        self.call("curl -i", "api", path)
    }

    /// A change at a path.
    pub(super) fn post(&self, path: &str) -> String {
        self.call("curl -X POST", "api --post", path)
    }

    fn call(&self, curl: &str, own: &str, path: &str) -> String {
        match self.needs_access {
            true => self.command(&format!("{own} {}", shell_word(path))),
            false => format!("{curl} {}", shell_word(&format!("{}{path}", self.url))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let plain = NextCommands::plain("http://a:8000/");
        assert_eq!(
            plain.command("models"),
            "tidegate models --url http://a:8000"
        );
        assert_eq!(plain.get("/v2/x"), "curl -s http://a:8000/v2/x");
        assert_eq!(plain.get("/e?a=b&c"), "curl -s 'http://a:8000/e?a=b&c'");
        let protected = NextCommands {
            flags: " --ca-file 'my ca.pem'".to_owned(),
            needs_access: true,
            ..NextCommands::plain("https://a")
        };
        assert_eq!(
            protected.get("/e?a=b"),
            "tidegate api '/e?a=b' --url https://a --ca-file 'my ca.pem'"
        );
        assert_eq!(
            protected.post("/x"),
            "tidegate api --post /x --url https://a --ca-file 'my ca.pem'"
        );
    }
}
