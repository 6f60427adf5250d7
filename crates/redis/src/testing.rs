//! A Redis of a test: on a socket of its own, gone with the test. The tests of the gateway use this file
//! too.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_redis::{RedisClient, RedisConfig};

/// A server; killed when it is dropped.
pub(crate) struct TestRedis {
    folder: TempDir,
    process: Option<Child>,
    arguments: Vec<String>,
}

impl TestRedis {
    /// A running server, with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self::stopped(arguments);
        server.run();
        server
    }

    /// A server that does not run yet.
    pub(crate) fn stopped(arguments: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            process: None,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    pub(crate) fn run(&mut self) {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(server.expect("redis-server is installed by `cargo xtask setup`"));
        while UnixStream::connect(self.socket()).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            url: format!("unix://{}", self.socket().display())
                .as_str()
                .into(),
            // The machine of the tests may be busy.
            command_timeout_ms: 2000,
            ..RedisConfig::default()
        }
    }

    /// A connected client.
    pub(crate) async fn client(&self) -> Arc<RedisClient> {
        self.client_of(&self.config()).await
    }

    pub(crate) async fn client_of(&self, config: &RedisConfig) -> Arc<RedisClient> {
        let client = RedisClient::start(config).unwrap().unwrap();
        until(|| client.is_connected()).await;
        client
    }

    /// Runs a command of Redis.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let url = self.config().url;
        let client = redis::Client::open(url.reveal()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let connected = client.get_multiplexed_async_connection_with_config(&patient);
        let mut connection = connected.await.unwrap();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a condition, which comes soon unless the test fails.
pub(crate) async fn until(is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.expect("the condition comes");
}
