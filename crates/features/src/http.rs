//! Feast's feature server.

use std::path::PathBuf;
use std::time::Duration;

use chrono::DateTime;
use futures_util::future::BoxFuture;
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_core::{Feature, FeatureQuery, FeatureValue, KeyValue};

use crate::config::{FeaturesConfigError, StoreConfig};
use crate::exact_json::exact_json;
use crate::store::{FeatureStore, StoreError};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// The longest part of an error of the server that is repeated, in characters.
const MAX_SHOWN: usize = 200;

/// The HTTP API of `feast serve`.
pub(crate) struct HttpStore {
    client: Client,
    features: Url,
    health: Url,
    token_file: Option<PathBuf>,
    max_value_bytes: usize,
}

/// The answer of `/get-online-features`.
#[derive(Deserialize)]
struct Answer {
    metadata: Metadata,
    results: Vec<Column>,
}

#[derive(Deserialize)]
struct Metadata {
    feature_names: Vec<String>,
}

/// The values of a feature, in the order of the entities.
#[derive(Deserialize)]
struct Column {
    values: Vec<Value>,
    #[serde(default)]
    statuses: Vec<String>,
    #[serde(default)]
    event_timestamps: Vec<String>,
}

impl HttpStore {
    pub(crate) fn new(
        config: &StoreConfig,
        max_value_bytes: usize,
    ) -> Result<Self, FeaturesConfigError> {
        // Another part of the process may have set it: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: client(config).map_err(|problem| config.error(problem))?,
            features: url(config, "get-online-features")?,
            health: url(config, "health")?,
            token_file: config.token_file.clone(),
            max_value_bytes,
        })
    }

    async fn fetch(&self, query: &FeatureQuery) -> Result<Vec<Feature>, StoreError> {
        let body = serde_json::to_vec(&body(query));
        let body = body.map_err(|error| StoreError::Refused(error.to_string()))?;
        let request = self.client.post(self.features.clone()).body(body);
        let request = request.header("content-type", "application/json");
        let answer = self.send(request).await?;
        let answer = read_answer(&answer);
        let answer = answer.map_err(|problem| {
            StoreError::Failed(format!("its answer cannot be read: {problem}"))
        })?;
        self.features(query, answer).map_err(StoreError::Failed)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, StoreError> {
        let request = match &self.token_file {
            None => request,
            Some(file) => {
                let token = read_token(file.clone()).await.map_err(StoreError::Failed)?;
                request.bearer_auth(token)
            }
        };
        let sent = request.send().await;
        let mut answer = sent.map_err(|error| StoreError::Failed(cause(error)))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| StoreError::Failed(cause(error)))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                let problem = format!("its answer has more than {MAX_ANSWER} bytes");
                return Err(StoreError::Refused(problem));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        let shown: String = String::from_utf8_lossy(&body)
            .chars()
            .take(MAX_SHOWN)
            .collect();
        let problem = format!("it answers {}: {}", status.as_u16(), shown.escape_default());
        match status.is_client_error() {
            true => Err(StoreError::Refused(problem)),
            false => Err(StoreError::Failed(problem)),
        }
    }

    /// The values of an answer in the order of the query. The server may order features as it likes.
    fn features(&self, query: &FeatureQuery, answer: Answer) -> Result<Vec<Feature>, String> {
        let (entities, wanted) = (query.entities.len(), query.features.len());
        let mut features = vec![Feature::default(); query.values()];
        for (place, name) in query.features.iter().enumerate() {
            let full_name = format!("{}__{name}", query.view);
            let names = &answer.metadata.feature_names;
            let column = names.iter().position(|found| *found == full_name);
            let column = column.and_then(|at| answer.results.get(at));
            let column = column.ok_or_else(|| format!("its answer has no \"{full_name}\""))?;
            if column.values.len() != entities || column.statuses.len() != entities {
                let found = column.values.len();
                return Err(format!("it answers {found} values for {entities} entities"));
            }
            for entity in 0..entities {
                features[entity * wanted + place] = self.feature(column, entity);
            }
        }
        Ok(features)
    }

    fn feature(&self, column: &Column, entity: usize) -> Feature {
        let event_ms = column.event_timestamps.get(entity);
        let event_ms = event_ms.and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        // What is outside of Feast's own ttl is judged here too, by its time.
        let is_there = matches!(
            column.statuses[entity].as_str(),
            "PRESENT" | "OUTSIDE_MAX_AGE"
        );
        Feature {
            value: match is_there {
                true => self.value(&column.values[entity]),
                false => FeatureValue::Missing,
            },
            event_ms: event_ms.map(|time| time.timestamp_millis()),
        }
    }

    fn value(&self, value: &Value) -> FeatureValue {
        match value {
            Value::Null => FeatureValue::Missing,
            Value::Bool(boolean) => FeatureValue::Boolean(*boolean),
            Value::Number(number) => number.as_i64().map_or_else(
                || FeatureValue::Number(number.as_f64().unwrap_or(f64::NAN)),
                FeatureValue::Integer,
            ),
            Value::String(text) if text.len() > self.max_value_bytes => {
                let (bytes, max) = (text.len(), self.max_value_bytes);
                let problem = format!("has {bytes} bytes in the store, the most is {max}");
                FeatureValue::Unreadable(problem)
            }
            Value::String(text) => FeatureValue::Text(text.clone()),
            Value::Array(_) | Value::Object(_) => {
                let problem = "is a list, set or map in the store, which no column can have";
                FeatureValue::Unreadable(problem.to_owned())
            }
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        match self.send(self.client.get(self.health.clone())).await {
            // It is there, if not for us.
            Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn url(config: &StoreConfig, path: &str) -> Result<Url, FeaturesConfigError> {
    let base = config.url.reveal().trim_end_matches('/');
    match Url::parse(&format!("{base}/{path}")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(config.error("its url must be http://HOST:PORT or https://HOST:PORT")),
    }
}

fn read_answer(body: &[u8]) -> Result<Answer, String> {
    serde_json::from_value(exact_json(body)?).map_err(|error| error.to_string())
}

/// `{"entities": {"driver_id": [1, 2]}, "features": ["view:name"]}`.
fn body(query: &FeatureQuery) -> Value {
    let mut entities = Map::new();
    for (place, name) in query.join_keys.iter().enumerate() {
        let values = query.entities.iter().map(|entity| match &entity[place] {
            KeyValue::Text(text) => json!(&**text),
            KeyValue::Int32(number) => json!(number),
            KeyValue::Int64(number) => json!(number),
        });
        entities.insert(name.to_string(), values.collect());
    }
    let view = &query.view;
    let features = query.features.iter().map(|name| format!("{view}:{name}"));
    json!({
        "entities": entities,
        "features": features.collect::<Vec<_>>(),
        // Names of different views may be equal.
        "full_feature_names": true,
    })
}

fn client(config: &StoreConfig) -> Result<Client, String> {
    let mut builder = Client::builder()
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms()))
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        // A redirect could lead to a host that nobody has configured.
        .redirect(redirect::Policy::none());
    if let Some(file) = &config.ca_file {
        let pem = std::fs::read(file).map_err(|error| format!("ca_file: {error}"))?;
        let read =
            Certificate::from_pem_bundle(&pem).map_err(|error| format!("ca_file: {error}"))?;
        builder = builder.tls_certs_merge(read);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Read at each request: tokens are renewed while the server runs.
async fn read_token(file: PathBuf) -> Result<String, String> {
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let read = read.map_err(|error| error.to_string())?;
    let token = read.map_err(|error| format!("token_file {}: {error}", file.display()))?;
    Ok(token.trim().to_owned())
}

/// The last cause: the outer error only says that sending failed. The address may have a password.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl FeatureStore for HttpStore {
    fn fetch<'a>(
        &'a self,
        query: &'a FeatureQuery,
    ) -> BoxFuture<'a, Result<Vec<Feature>, StoreError>> {
        Box::pin(self.fetch(query))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.check())
    }
}
