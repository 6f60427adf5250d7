//! The paths and ports at which machine learning platforms call a model container: Amazon SageMaker,
//! Google Vertex AI and Azure Machine Learning.
//!
//! Such a path is another name of a path that the server has anyway: it is replaced before the
//! request is routed. So it needs the same permission and is answered in the same way.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use http::uri::PathAndQuery;
use http::{Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The `[platform]` section of `tidegate.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformConfig {
    /// Whose requests the server answers, beside all others.
    pub contract: Option<Contract>,
    /// The model that answers the platform's requests for predictions.
    pub model: Option<String>,
    /// The form of those requests.
    pub protocol: PlatformProtocol,
    /// The port of REST, on all addresses of the container; that of the platform if absent.
    pub port: Option<u16>,
    /// The path that tells whether the model is ready; that of the platform if absent.
    pub health_path: Option<String>,
    /// The path of predictions; that of the platform if absent.
    pub predict_path: Option<String>,
}

/// What a platform expects of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contract {
    /// Amazon SageMaker: `GET /ping` and `POST /invocations` on port 8080, or on that of
    /// `SAGEMAKER_BIND_TO_PORT`.
    SageMaker,
    /// Google Vertex AI: the paths and the port of `AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE` and
    /// `AIP_HTTP_PORT`.
    Vertex,
    /// Azure Machine Learning: `GET /` and `POST /score` on port 5001.
    Azure,
}

/// See [`PlatformConfig::protocol`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformProtocol {
    /// `{"instances": […]}`, answered with `{"predictions": […]}`.
    #[default]
    Instances,
    /// The Open Inference Protocol: `{"inputs": […]}`, answered with `{"outputs": […]}`.
    OpenInference,
}

/// What is wrong with a section `[platform]`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PlatformError {
    #[error("platform.model: name the model that answers the platform's requests")]
    NoModel,
    #[error("platform.{0} has no effect without platform.contract")]
    NoContract(&'static str),
    #[error("platform.{key}: {value:?} is not a path: it must begin with a slash")]
    Path { key: &'static str, value: String },
    #[error("platform.health_path and platform.predict_path are both {0:?}")]
    SamePath(String),
    #[error(
        "platform.{key}: {path:?} is the path {route} of the server itself, which nobody could reach \
         any more: choose another one (on Vertex AI, AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE set them)"
    )]
    OwnPath {
        key: &'static str,
        path: String,
        route: &'static str,
    },
    #[error("{variable}: {value:?} is not a port")]
    Port {
        variable: &'static str,
        value: String,
    },
}

/// The variables in which a platform tells a container its port and paths.
struct Variables {
    port: &'static str,
    health_path: &'static str,
    predict_path: &'static str,
}

impl Contract {
    /// The port, the path of health and the path of predictions.
    fn defaults(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::SageMaker => (8080, "/ping", "/invocations"),
            Self::Vertex => (8080, "/health", "/predict"),
            Self::Azure => (5001, "/", "/score"),
        }
    }

    fn variables(self) -> Option<Variables> {
        match self {
            Self::SageMaker => Some(Variables {
                port: "SAGEMAKER_BIND_TO_PORT",
                health_path: "",
                predict_path: "",
            }),
            Self::Vertex => Some(Variables {
                port: "AIP_HTTP_PORT",
                health_path: "AIP_HEALTH_ROUTE",
                predict_path: "AIP_PREDICT_ROUTE",
            }),
            Self::Azure => None,
        }
    }
}

impl PlatformConfig {
    /// Sets what is not configured to what the platform says in the environment of the process.
    ///
    /// # Errors
    /// [`PlatformError::Port`].
    pub fn read_variables(
        &mut self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(), PlatformError> {
        let Some(variables) = self.contract.and_then(Contract::variables) else {
            return Ok(());
        };
        let mut environment: HashMap<String, String> = environment.collect();
        if self.port.is_none()
            && let Some(value) = environment.remove(variables.port)
        {
            let variable = variables.port;
            let port = value.parse();
            self.port = Some(port.map_err(|_| PlatformError::Port { variable, value })?);
        }
        let health_path = environment.remove(variables.health_path);
        self.health_path = self.health_path.take().or(health_path);
        let predict_path = environment.remove(variables.predict_path);
        self.predict_path = self.predict_path.take().or(predict_path);
        Ok(())
    }

    /// The address of REST that the platform calls; `None` without a contract.
    pub fn address(&self) -> Option<SocketAddr> {
        let (default_port, ..) = self.contract?.defaults();
        let port = self.port.unwrap_or(default_port);
        Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
    }

    /// The paths that the platform calls; `None` without a contract.
    pub(crate) fn paths(&self) -> Result<Option<PlatformPaths>, PlatformError> {
        let Some(contract) = self.contract else {
            let is_set = [
                ("model", self.model.is_some()),
                ("port", self.port.is_some()),
                ("health_path", self.health_path.is_some()),
                ("predict_path", self.predict_path.is_some()),
            ];
            return match is_set.into_iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => Err(PlatformError::NoContract(key)),
                None => Ok(None),
            };
        };
        let model = self.model.as_deref().filter(|model| !model.is_empty());
        let model = model.ok_or(PlatformError::NoModel)?;
        let (_, health, predict) = contract.defaults();
        let health = path("health_path", self.health_path.as_deref().unwrap_or(health))?;
        let predict = path(
            "predict_path",
            self.predict_path.as_deref().unwrap_or(predict),
        )?;
        if health == predict {
            return Err(PlatformError::SamePath(health));
        }
        // A name may have signs that a path may not.
        let model = utf8_percent_encode(model, NON_ALPHANUMERIC);
        let target = match self.protocol {
            PlatformProtocol::Instances => format!("/v1/models/{model}:predict"),
            PlatformProtocol::OpenInference => format!("/v2/models/{model}/infer"),
        };
        Ok(Some(PlatformPaths {
            health,
            predict,
            // Not that of the server: the platform must send nothing while this model does not answer.
            health_target: format!("/v2/models/{model}/ready")
                .parse()
                .map_err(|_| PlatformError::NoModel)?,
            // Of nothing but letters, digits, signs of percent and slashes.
            predict_target: target.parse().map_err(|_| PlatformError::NoModel)?,
        }))
    }
}

fn path(key: &'static str, value: &str) -> Result<String, PlatformError> {
    let is_path = value.starts_with('/') && value.parse::<PathAndQuery>().is_ok();
    if !is_path || value.contains('?') {
        let value = value.to_owned();
        return Err(PlatformError::Path { key, value });
    }
    Ok(value.to_owned())
}

/// The paths of a platform, and the server's own ones that they stand for.
#[derive(Clone, Debug)]
pub(crate) struct PlatformPaths {
    health: String,
    predict: String,
    health_target: PathAndQuery,
    predict_target: PathAndQuery,
}

impl PlatformPaths {
    /// Refuses paths that would hide one of the server's own routes. Its own paths for the same model
    /// hide nothing, nor does the front page, which Azure asks for.
    pub(crate) fn check_own_routes(
        &self,
        routes: impl Iterator<Item = &'static str>,
    ) -> Result<(), PlatformError> {
        let chosen = [
            ("health_path", &self.health, &self.health_target),
            ("predict_path", &self.predict, &self.predict_target),
        ];
        for route in routes {
            for (key, path, target) in &chosen {
                // What is behind a slash at the end means nothing to the router either.
                let trimmed = path.trim_end_matches('/');
                if !trimmed.is_empty() && trimmed != target.path() && matches(route, trimmed) {
                    let path = (*path).clone();
                    return Err(PlatformError::OwnPath { key, path, route });
                }
            }
        }
        Ok(())
    }

    /// Replaces a path of the platform by the one that it stands for.
    pub(crate) fn replace<B>(&self, request: &mut Request<B>) {
        let path = request.uri().path();
        let target = if path == self.predict {
            &self.predict_target
        } else if path == self.health {
            &self.health_target
        } else {
            return;
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target.clone());
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// Whether a path is one of a route, where `{name}` stands for one part and `{*name}` for the rest.
fn matches(route: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in route.split('/') {
        if wanted.starts_with("{*") {
            return parts.next().is_some();
        }
        let is_same = parts
            .next()
            .is_some_and(|part| wanted.starts_with('{') || part == wanted);
        if !is_same {
            return false;
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(contract: Contract) -> PlatformConfig {
        PlatformConfig {
            contract: Some(contract),
            model: Some("fraud".to_owned()),
            ..PlatformConfig::default()
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let pairs = pairs.iter();
        let owned: Vec<_> = pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        owned.into_iter()
    }

    fn replaced(config: &PlatformConfig, uri: &str) -> String {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        config.paths().unwrap().unwrap().replace(&mut request);
        request.uri().to_string()
    }

    #[test]
    fn paths_of_a_platform_stand_for_those_of_the_server() {
        let sagemaker = config(Contract::SageMaker);
        assert_eq!(replaced(&sagemaker, "/ping"), "/v2/models/fraud/ready");
        let predict = "/v1/models/fraud:predict";
        assert_eq!(replaced(&sagemaker, "/invocations"), predict);
        assert_eq!(replaced(&sagemaker, "/invocations/x"), "/invocations/x");
        let azure = config(Contract::Azure);
        assert_eq!(replaced(&azure, "/score?verbose=1"), predict);
        assert_eq!(replaced(&azure, "/"), "/v2/models/fraud/ready");
    }

    #[test]
    fn the_open_inference_protocol_can_be_chosen() {
        let config = PlatformConfig {
            protocol: PlatformProtocol::OpenInference,
            model: Some("a b/c".to_owned()),
            ..config(Contract::Vertex)
        };
        let target = "/v2/models/a%20b%2Fc/infer";
        assert_eq!(replaced(&config, "/predict"), target);
    }

    #[test]
    fn vertex_says_its_paths_and_port_in_variables() {
        let mut config = config(Contract::Vertex);
        let said = variables(&[
            ("AIP_HTTP_PORT", "7080"),
            ("AIP_HEALTH_ROUTE", "/v1/endpoints/1/health"),
            ("AIP_PREDICT_ROUTE", "/v1/endpoints/1:predict"),
        ]);
        config.read_variables(said).unwrap();
        assert_eq!(config.address().unwrap().to_string(), "0.0.0.0:7080");
        let predict = replaced(&config, "/v1/endpoints/1:predict");
        assert_eq!(predict, "/v1/models/fraud:predict");
    }

    #[test]
    fn what_is_configured_is_stronger_than_variables() {
        let mut config = PlatformConfig {
            port: Some(9000),
            ..config(Contract::SageMaker)
        };
        let said = variables(&[("SAGEMAKER_BIND_TO_PORT", "many")]);
        config.read_variables(said).unwrap();
        assert_eq!(config.port, Some(9000));
        config.port = None;
        let said = variables(&[("SAGEMAKER_BIND_TO_PORT", "many")]);
        assert!(config.read_variables(said).is_err());
    }

    #[test]
    fn paths_of_the_server_itself_are_refused() {
        let routes = [
            "/metrics",
            "/v1/models/{model}",
            "/console/assets/{*file}",
            "/",
        ];
        let check = |path: &str| {
            let config = PlatformConfig {
                predict_path: Some(path.to_owned()),
                ..config(Contract::Vertex)
            };
            let paths = config.paths().unwrap().unwrap();
            paths.check_own_routes(routes.into_iter())
        };
        for own in [
            "/metrics",
            "/metrics/",
            "/v1/models/other:predict",
            "/console/assets/a/b",
        ] {
            assert!(check(own).is_err(), "{own}");
        }
        for free in [
            "/metrics/x",
            "/v1/models/a/b",
            "/predict",
            "/",
            "/v1/models/fraud:predict",
        ] {
            assert_eq!(check(free), Ok(()), "{free}");
        }
        let message = check("/metrics").unwrap_err().to_string();
        assert!(message.contains("platform.predict_path"), "{message}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let no_model = PlatformConfig {
            model: None,
            ..config(Contract::Azure)
        };
        assert_eq!(no_model.paths().unwrap_err(), PlatformError::NoModel);
        let no_contract = PlatformConfig {
            contract: None,
            ..config(Contract::Azure)
        };
        let error = no_contract.paths().unwrap_err();
        assert_eq!(error, PlatformError::NoContract("model"));
        for wrong in ["score", "", "/a?b", "/a b"] {
            let config = PlatformConfig {
                predict_path: Some(wrong.to_owned()),
                ..config(Contract::Azure)
            };
            assert!(config.paths().is_err(), "{wrong:?}");
        }
        let same = PlatformConfig {
            health_path: Some("/score".to_owned()),
            ..config(Contract::Azure)
        };
        let error = same.paths().unwrap_err();
        assert_eq!(error, PlatformError::SamePath("/score".to_owned()));
    }
}
