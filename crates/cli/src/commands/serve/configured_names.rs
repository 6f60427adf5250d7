//! The models and versions that the configuration names.

use tidegate_serving::{ConfiguredName, EndpointConfig, named_versions};

use crate::config::Config;

/// Stands for every endpoint in `cache.endpoint`.
const EVERY_ENDPOINT: &str = "*";

/// Every model that the configuration names, and where.
pub(super) fn configured_names(config: &Config) -> Vec<ConfiguredName> {
    let mut names: Vec<ConfiguredName> = config.endpoints.iter().flat_map(of_endpoint).collect();
    for endpoint in &config.cache.endpoint {
        if endpoint.name != EVERY_ENDPOINT {
            names.push(ConfiguredName::new("cache.endpoint", &endpoint.name));
        }
    }
    if let Some(model) = &config.platform.model {
        names.push(ConfiguredName::new("platform.model", model));
    }
    names
}

fn of_endpoint(endpoint: &EndpointConfig) -> Vec<ConfiguredName> {
    let mut names = vec![ConfiguredName::new("endpoints.name", &endpoint.name)];
    for fallback in &endpoint.fallback {
        if let Some(version) = &fallback.version {
            let key = format!("endpoints.fallback.version of {:?}", endpoint.name);
            names.push(ConfiguredName::new(key, &endpoint.name).with_version(version));
        }
        if let Some(other) = &fallback.endpoint {
            let key = format!("endpoints.fallback.endpoint of {:?}", endpoint.name);
            names.push(ConfiguredName::new(key, other));
        }
    }
    for version in endpoint.traffic.iter().flat_map(named_versions) {
        let key = format!("endpoints.traffic of {:?}", endpoint.name);
        names.push(ConfiguredName::new(key, &endpoint.name).with_version(&version));
    }
    names
}
