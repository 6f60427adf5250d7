//! Models of other servers that are named by a URL, without a bundle.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use tidegate_core::{EngineChoice, Manifest, ModelName, RemoteSpec};
use tidegate_engines::REMOTE;

/// A model of another server: `http://HOST:PORT/MODEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteModel {
    server: String,
    model: ModelName,
}

impl FromStr for RemoteModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let missing = || "the model is missing: write http://HOST:PORT/MODEL".to_owned();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "it must begin with http://, https://, grpc:// or grpcs://: write http://{text}"
            ));
        };
        if !["http", "https", "grpc", "grpcs"].contains(&scheme) {
            return Err("it must begin with http://, https://, grpc:// or grpcs://".to_owned());
        }
        let (server, model) = rest.rsplit_once('/').ok_or_else(missing)?;
        if server.is_empty() || model.is_empty() {
            return Err(missing());
        }
        let model: ModelName = model.parse().map_err(|error| format!("{error}"))?;
        Ok(Self {
            server: format!("{scheme}://{server}"),
            model,
        })
    }
}

/// Bundles of such models, in a folder that is removed when it is dropped.
pub(super) struct RemoteBundles {
    _folder: Option<tempfile::TempDir>,
    /// One for each model.
    pub(super) paths: Vec<PathBuf>,
}

impl RemoteBundles {
    /// Writes a bundle for each model. The same model on several servers becomes one bundle.
    pub(super) fn write(models: &[RemoteModel]) -> Result<Self> {
        if models.is_empty() {
            return Ok(Self {
                _folder: None,
                paths: Vec::new(),
            });
        }
        let folder = tempfile::tempdir().context("no folder for the bundles of --remote")?;
        let mut paths: Vec<PathBuf> = Vec::new();
        for RemoteModel { model, .. } in models {
            let path = folder.path().join(model.as_str());
            if paths.contains(&path) {
                continue;
            }
            let servers = models.iter().filter(|other| other.model == *model);
            let servers = servers.map(|other| other.server.clone()).collect();
            std::fs::create_dir(&path)?;
            let manifest = toml::to_string(&manifest(model, servers))?;
            std::fs::write(path.join(Manifest::FILE), manifest)?;
            paths.push(path);
        }
        Ok(Self {
            _folder: Some(folder),
            paths,
        })
    }
}

fn manifest(model: &ModelName, endpoints: Vec<String>) -> Manifest {
    let remote = RemoteSpec {
        endpoints,
        ..RemoteSpec::default()
    };
    Manifest {
        name: model.as_str().to_owned(),
        engine: EngineChoice::from(REMOTE),
        remote: Some(Box::new(remote)),
        ..Manifest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_url_is_the_model_and_servers_of_one_model_are_joined() {
        let urls = [
            "http://a:1/fraud",
            "grpc://b:2/digits",
            "http://c:3/x/fraud",
        ];
        let models: Vec<RemoteModel> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let bundles = RemoteBundles::write(&models).unwrap();
        assert_eq!(bundles.paths.len(), 2);
        let text = std::fs::read_to_string(bundles.paths[0].join("model.toml")).unwrap();
        let manifest = tidegate_serving::parse_manifest(&text).unwrap();
        assert_eq!(manifest.name, "fraud");
        let remote = manifest.remote.unwrap();
        assert_eq!(remote.endpoints, ["http://a:1", "http://c:3/x"]);
    }

    #[test]
    fn a_url_without_a_scheme_is_refused_with_one() {
        let problem = "a:1/fraud".parse::<RemoteModel>().unwrap_err();
        assert!(problem.ends_with("write http://a:1/fraud"), "{problem}");
        let problem = "ftp://a:1/fraud".parse::<RemoteModel>().unwrap_err();
        assert!(problem.contains("grpcs://"), "{problem}");
    }

    #[test]
    fn a_url_without_a_model_is_refused() {
        for url in ["http://a:1", "http://a:1/", "a:1/fraud", "http:///fraud"] {
            assert!(url.parse::<RemoteModel>().is_err(), "{url}");
        }
    }
}
