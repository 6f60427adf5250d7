//! Redis, in the layout that Feast writes.
//!
//! A hash for each entity: its key is the key of the entity and the name of the project. A field for
//! each feature, named by the hash of `view:feature`, has its value; a field `_ts:view` has the time
//! that the values of the view are of.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind};
use tidegate_core::{Feature, FeatureQuery, FeatureValue, murmur3_32};
use tidegate_redis::{RedisConfig, RedisConnector, redis_problem};

use crate::config::{FeaturesConfigError, StoreConfig};
use crate::store::{FeatureStore, StoreError};
use crate::{entity_key, value};

/// The longest that a command may take, whatever the time-outs of lookups are, in milliseconds.
const COMMAND_TIMEOUT_MS: u64 = 60_000;

/// A Redis that Feast writes to.
pub(crate) struct RedisStore {
    connector: RedisConnector,
    connection: ArcSwapOption<MultiplexedConnection>,
    project: Vec<u8>,
    max_value_bytes: usize,
}

/// The fields of a hash as Redis gives them, or its error.
type Fields = RedisResult<Vec<Option<Vec<u8>>>>;

impl RedisStore {
    pub(crate) fn new(
        config: &StoreConfig,
        max_value_bytes: usize,
    ) -> Result<Self, FeaturesConfigError> {
        let redis = RedisConfig {
            url: config.url.clone(),
            password_file: config.password_file.clone(),
            ca_file: config.ca_file.clone(),
            command_timeout_ms: COMMAND_TIMEOUT_MS,
            connect_timeout_ms: config.connect_timeout_ms(),
            ..RedisConfig::default()
        };
        let connector = RedisConnector::new(&redis);
        Ok(Self {
            connector: connector.map_err(|error| config.error(error.to_string()))?,
            connection: ArcSwapOption::empty(),
            project: config.project.as_bytes().to_vec(),
            max_value_bytes,
        })
    }

    async fn fetch(&self, query: &FeatureQuery) -> Result<Vec<Feature>, StoreError> {
        let Some(connection) = self.connection.load_full() else {
            return Err(StoreError::Lost("it is not connected".to_owned()));
        };
        let mut connection = MultiplexedConnection::clone(&connection);
        let pipeline = self.pipeline(query);
        let answer: RedisResult<Vec<Fields>> = pipeline.query_async(&mut connection).await;
        let entities = answer.map_err(|error| self.failed(&error))?;
        let mut features = Vec::with_capacity(query.values());
        for fields in entities {
            self.push_features(query, fields, &mut features)?;
        }
        if features.len() != query.values() {
            return Err(StoreError::Failed("its answer is too short".to_owned()));
        }
        Ok(features)
    }

    /// One command for each entity, all in one message.
    fn pipeline(&self, query: &FeatureQuery) -> Pipeline {
        let view = &query.view;
        let names = query.features.iter();
        let hashes = names.map(|name| murmur3_32(format!("{view}:{name}").as_bytes()));
        let mut fields: Vec<Vec<u8>> = hashes.map(|hash| hash.to_le_bytes().to_vec()).collect();
        fields.push(format!("_ts:{view}").into_bytes());
        let mut pipeline = redis::pipe();
        for entity in &query.entities {
            let mut key = entity_key::encode(&query.join_keys, entity);
            key.extend_from_slice(&self.project);
            pipeline.cmd("HMGET").arg(key).arg(&fields);
        }
        // What is wrong with one hash is no reason not to read the others.
        pipeline.ignore_errors();
        pipeline
    }

    fn push_features(
        &self,
        query: &FeatureQuery,
        fields: Fields,
        features: &mut Vec<Feature>,
    ) -> Result<(), StoreError> {
        let wanted = query.features.len();
        let mut fields = match fields {
            Ok(fields) if fields.len() == wanted + 1 => fields,
            Ok(_) => return Err(StoreError::Failed("its answer is too short".to_owned())),
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let problem = "is not readable: its key in Redis is no hash";
                let value = FeatureValue::Unreadable(problem.to_owned());
                let unreadable = Feature {
                    value,
                    event_ms: None,
                };
                features.extend(std::iter::repeat_n(unreadable, wanted));
                return Ok(());
            }
            Err(error) => return Err(self.failed(&error)),
        };
        let time = fields.pop().flatten();
        let event_ms = time.and_then(|time| value::decode_time(&time));
        for field in fields {
            let value = field.map_or(FeatureValue::Missing, |bytes| {
                value::decode(&bytes, self.max_value_bytes)
            });
            features.push(Feature { value, event_ms });
        }
        Ok(())
    }

    /// What a failure means for the connection.
    fn failed(&self, error: &RedisError) -> StoreError {
        let problem = redis_problem(error);
        if error.is_unrecoverable_error() {
            self.connection.store(None);
            return StoreError::Lost(problem);
        }
        let is_refusal = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm);
        match is_refusal {
            true => StoreError::Refused(problem),
            false => StoreError::Failed(problem),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        if let Some(open) = self.connection.load_full()
            && ping(MultiplexedConnection::clone(&open)).await.is_ok()
        {
            return Ok(());
        }
        self.connection.store(None);
        let connection = self.connector.connect().await.map_err(StoreError::Lost)?;
        let answered = ping(connection.clone()).await;
        answered.map_err(|error| StoreError::Lost(redis_problem(&error)))?;
        self.connection.store(Some(Arc::new(connection)));
        Ok(())
    }
}

/// Whether Redis answers: a user that may only read hashes need not be allowed to ping.
async fn ping(mut connection: MultiplexedConnection) -> RedisResult<()> {
    let mut command = redis::cmd("HMGET");
    command.arg("tidegate:check").arg("none");
    let answer: RedisResult<redis::Value> = command.query_async(&mut connection).await;
    match answer {
        Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => Err(error),
        _ => Ok(()),
    }
}

impl FeatureStore for RedisStore {
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
