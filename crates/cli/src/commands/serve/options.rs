//! The flags of `tidegate serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tidegate_server::{ServerConfig, listen_address};

use super::remote_model::RemoteModel;
use crate::config::{Config, LogFormat};
use crate::options::Engine;

/// Serve models over REST (port 8000) and gRPC (port 8001)
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// What to serve: an .onnx file, a bundle (a folder with model.toml), a Triton model, or a
    /// folder of these; without a path, the models of the registry
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Serve a model of another inference server, as http://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL
    #[arg(long, value_name = "URL")]
    pub(super) remote: Vec<RemoteModel>,
    /// Serve the models of the registry too, and follow its changes
    #[arg(long)]
    pub(super) registry: bool,
    /// The address for REST and /metrics; port 0 means any free port [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(super) http: Option<SocketAddr>,
    /// The address for gRPC; port 0 means any free port [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(super) grpc: Option<SocketAddr>,
    /// Listen on addresses that others can reach although authentication is off: everybody who can
    /// connect may do everything
    #[arg(long)]
    pub(super) allow_unauthenticated: bool,
    /// The folder for the state of this server; only one server at a time can use it
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The configuration file; see docs/reference/configuration.md
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The engine for models that do not choose one themselves
    #[arg(long)]
    pub(super) engine: Option<Engine>,
    /// The format of the log on standard error
    #[arg(long)]
    pub(super) log_format: Option<LogFormat>,
}

impl Serve {
    /// Puts the flags on top of file and environment.
    pub(super) fn override_config(self, config: &mut Config) {
        if !self.paths.is_empty() {
            config.models = self.paths;
        }
        config.data = self.data.or(config.data.take());
        if config.server.http == ServerConfig::default().http {
            let address = config.platform.address();
            config.server.http = address.unwrap_or(config.server.http);
        }
        config.server.http = self.http.unwrap_or(config.server.http);
        config.server.grpc = self.grpc.unwrap_or(config.server.grpc);
        config.server.allow_unauthenticated |= self.allow_unauthenticated;
        if self.registry {
            config.fleet.follow = Some(true);
        }
        if let Some(engine) = self.engine {
            config.engines.default = engine.into();
        }
        config.log.format = self.log_format.unwrap_or(config.log.format);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_configuration_and_leave_the_rest_of_it() {
        let mut config = Config::default();
        config.server.http.set_port(1);
        config.server.grpc.set_port(2);
        config.models = vec!["a".into()];
        let flags = Serve {
            grpc: Some("127.0.0.1:9".parse().unwrap()),
            ..Serve::default()
        };
        flags.override_config(&mut config);
        assert_eq!(config.server.http.port(), 1);
        assert_eq!(config.server.grpc.port(), 9);
        assert_eq!(config.models, [PathBuf::from("a")]);
    }
}
