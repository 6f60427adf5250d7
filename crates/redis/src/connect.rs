//! Opens connections.

use std::path::{Path, PathBuf};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use tidegate_redaction::SecretSource;

use crate::config::{RedisConfig, RedisConfigError};

/// Most commands that wait for their answers at the same time.
const MAX_IN_FLIGHT: usize = 1024;

/// How connections are opened.
pub struct RedisConnector {
    address: ConnectionInfo,
    password: Option<SecretSource>,
    /// Read for each connection: a renewed file needs no restart.
    ca_file: Option<PathBuf>,
    settings: AsyncConnectionConfig,
}

impl RedisConnector {
    /// A connector for the address of a configuration.
    ///
    /// # Errors
    /// What is wrong with the address or the certificates.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisConfigError> {
        let address = config.url.reveal().into_connection_info();
        let address = address.map_err(|error| RedisConfigError::Url(redis_problem(&error)))?;
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout()))
            .set_response_timeout(Some(config.command_timeout()))
            .set_pipeline_buffer_size(MAX_IN_FLIGHT)
            .set_concurrency_limit(MAX_IN_FLIGHT);
        // A file that cannot be used is reported at the start.
        config.ca_file.as_deref().map(read_ca).transpose()?;
        Ok(Self {
            address,
            password: config.password_file.clone().map(SecretSource::File),
            ca_file: config.ca_file.clone(),
            settings,
        })
    }

    /// A new connection. The time-out of a connection bounds it.
    ///
    /// # Errors
    /// Why there is none, without any secret.
    pub async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let client = self.client().await?;
        let opened = client.get_multiplexed_async_connection_with_config(&self.settings);
        opened.await.map_err(|error| redis_problem(&error))
    }

    async fn client(&self) -> Result<Client, String> {
        let mut address = self.address.clone();
        if let Some(source) = &self.password {
            let source = source.clone();
            let read = tokio::task::spawn_blocking(move || source.read()).await;
            let password = read.map_err(|error| error.to_string())??;
            let settings = address.redis_settings().clone();
            address = address.set_redis_settings(settings.set_password(password.reveal()));
        }
        let client = match self.ca_file.clone() {
            None => Client::open(address),
            Some(file) => {
                let read = tokio::task::spawn_blocking(move || read_ca(&file)).await;
                let ca = read.map_err(|error| error.to_string())?;
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca.map_err(|error| error.to_string())?),
                };
                Client::build_with_tls(address, certificates)
            }
        };
        client.map_err(|error| redis_problem(&error))
    }
}

fn read_ca(file: &Path) -> Result<Vec<u8>, RedisConfigError> {
    let read = std::fs::read(file);
    read.map_err(|error| RedisConfigError::CaFile(format!("{}: {error}", file.display())))
}

/// What went wrong, for people. Redis does not repeat secrets in its errors, and of the client's own
/// errors about an address only the category is told.
pub fn redis_problem(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::InvalidClientConfig => error.category().to_owned(),
        ErrorKind::AuthenticationFailed => "it refuses the credential".to_owned(),
        _ if error.is_timeout() => "it does not answer in time".to_owned(),
        _ => error.to_string(),
    }
}
