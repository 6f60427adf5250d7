//! An issuer's web server: metadata and key set over HTTP on loopback.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::JwtIssuerConfig;

/// A server whose answers the test changes while it runs.
pub(crate) struct KeyServer {
    pub(crate) url: String,
    answers: Arc<Mutex<Answers>>,
    // Time stands still in these tests, and advances only when they say so: a blocking task keeps
    // tokio from advancing it while the sockets are waited for.
    _hold_clock: oneshot::Sender<()>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Answers {
    keys: Value,
    metadata: Value,
    cache_control: String,
    is_down: bool,
    asked_for_keys: usize,
    token_answer: Value,
    last_form: String,
}

impl KeyServer {
    /// Starts the server, and stops the clock.
    pub(crate) async fn start(keys: Value) -> Self {
        tokio::time::pause();
        let (hold_clock, released) = oneshot::channel::<()>();
        tokio::task::spawn_blocking(move || released.blocking_recv());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(Answers {
            keys,
            metadata: json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }),
            ..Answers::default()
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&answers)));
        Self {
            url,
            answers,
            _hold_clock: hold_clock,
            _tasks: tasks,
        }
    }

    /// The configuration of an issuer at this address.
    pub(crate) fn config(&self) -> JwtIssuerConfig {
        JwtIssuerConfig {
            issuer: self.url.clone(),
            ..super::config()
        }
    }

    pub(crate) fn set_keys(&self, keys: Value) {
        self.answers.lock().keys = keys;
    }

    pub(crate) fn set_metadata(&self, metadata: Value) {
        self.answers.lock().metadata = metadata;
    }

    pub(crate) fn set_cache_control(&self, text: &str) {
        self.answers.lock().cache_control = text.to_owned();
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.answers.lock().is_down = is_down;
    }

    /// What the token endpoint answers.
    pub(crate) fn set_token_answer(&self, answer: Value) {
        self.answers.lock().token_answer = answer;
    }

    /// The last form that was posted to the token endpoint.
    pub(crate) fn last_form(&self) -> String {
        self.answers.lock().last_form.clone()
    }

    /// How often the key set was asked for.
    pub(crate) fn asked_for_keys(&self) -> usize {
        self.answers.lock().asked_for_keys
    }
}

async fn serve(listener: TcpListener, answers: Arc<Mutex<Answers>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = answer(stream, &answers).await;
    }
}

async fn answer(mut stream: TcpStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let mut form = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut form).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let text = {
        let mut answers = answers.lock();
        let body = match path {
            "/keys" => {
                answers.asked_for_keys += 1;
                answers.keys.to_string()
            }
            "/token" => {
                answers.last_form = String::from_utf8_lossy(&form).into_owned();
                answers.token_answer.to_string()
            }
            _ => answers.metadata.to_string(),
        };
        let status = match answers.is_down {
            true => "503 Service Unavailable",
            false => "200 OK",
        };
        format!(
            "HTTP/1.1 {status}\r\ncache-control: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            answers.cache_control,
            body.len()
        )
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Lets every task run until something is so. The clock does not move meanwhile.
pub(crate) async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
        // The kernel needs a moment to hand over what was sent.
        std::thread::sleep(Duration::from_micros(50));
    }
}
