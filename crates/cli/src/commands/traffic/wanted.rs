//! The policy that somebody wants: from a file, or the current one with changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tidegate_delivery::policy::{
    Attribute, Shadow, Share, TrafficPolicy, VersionName, WrittenPolicy, WrittenVersion,
};

use super::bodies::EndpointPolicy;
use super::{parsed, path};
use crate::client;

/// Stands for no sticky key.
const NONE: &str = "none";

/// The whole policy from a file, or changes of the current one.
#[derive(Debug, Args)]
#[group(id = "wanted_policy", required = true, multiple = true)]
pub(super) struct WantedPolicy {
    /// The file with the whole policy, TOML or JSON
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["weights", "sticky", "shadows", "no_shadows"]
    )]
    file: Option<PathBuf>,
    /// The versions and their weights, such as 7=95%,8=5%; a version alone gets all
    #[arg(long, value_name = "VERSION=SHARE", value_delimiter = ',', value_parser = weighted)]
    weights: Vec<WrittenVersion>,
    /// What keeps requests on the same version: header:NAME, claim:NAME, tenant or principal; none for
    /// nothing
    #[arg(long, value_name = "KEY")]
    sticky: Option<String>,
    /// A version that gets copies of a share of the requests, such as 9=10%; in place of the shadows
    /// that there are
    #[arg(
        long = "shadow",
        id = "shadows",
        value_name = "VERSION=SHARE",
        value_delimiter = ',',
        value_parser = shadow
    )]
    shadows: Vec<Shadow>,
    /// Remove all shadows
    #[arg(long, id = "no_shadows", conflicts_with = "shadows")]
    no_shadows: bool,
}

impl WantedPolicy {
    /// The policy. Without a file, that of the server is asked for what stays.
    pub(super) fn policy(&self, url: &str, endpoint: &str) -> Result<TrafficPolicy> {
        if let Some(file) = &self.file {
            return read(file);
        }
        let current = client::get_if_found(url, &path(endpoint, ""))?;
        let current = current
            .map(|text| parsed::<EndpointPolicy>(&text))
            .transpose()?;
        self.changed(endpoint, current.map(|current| current.policy))
    }

    fn changed(&self, endpoint: &str, current: Option<TrafficPolicy>) -> Result<TrafficPolicy> {
        let mut written = current.map(WrittenPolicy::from).unwrap_or_default();
        if !self.weights.is_empty() {
            written.versions.clone_from(&self.weights);
        }
        if written.versions.is_empty() {
            bail!("{endpoint} has no traffic policy yet: give --weights");
        }
        match self.sticky.as_deref() {
            None => {}
            Some(NONE) => written.sticky = None,
            Some(sticky) => written.sticky = Some(sticky.parse::<Attribute>()?),
        }
        if self.no_shadows || !self.shadows.is_empty() {
            written.shadows.clone_from(&self.shadows);
        }
        Ok(TrafficPolicy::try_from(written)?)
    }
}

fn read(file: &Path) -> Result<TrafficPolicy> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    if file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return serde_json::from_str(&text).map_err(|error| anyhow!("{shown}: {error}"));
    }
    toml::from_str(&text).map_err(|error| anyhow!("{shown}: {}", error.message()))
}

/// `8=5%`, or a version alone.
fn weighted(text: &str) -> Result<WrittenVersion, String> {
    let (version, weight) = match text.split_once('=') {
        None => (text, None),
        Some((version, weight)) => (version, Some(share(weight)?)),
    };
    let version = version_name(version)?;
    Ok(WrittenVersion { version, weight })
}

fn shadow(text: &str) -> Result<Shadow, String> {
    let Some((version, copied)) = text.split_once('=') else {
        return Err("write the version and the share that it gets, as in 9=10%".to_owned());
    };
    Ok(Shadow {
        version: version_name(version)?,
        share: share(copied)?,
    })
}

fn version_name(text: &str) -> Result<VersionName, String> {
    let parsed = text.trim().parse::<VersionName>();
    parsed.map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<Share, String> {
    let parsed = text.trim().parse::<Share>();
    parsed.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(weights: &[&str]) -> WantedPolicy {
        WantedPolicy {
            file: None,
            weights: weights.iter().map(|text| weighted(text).unwrap()).collect(),
            sticky: None,
            shadows: Vec::new(),
            no_shadows: false,
        }
    }

    #[test]
    fn weights_change_nothing_else() {
        let current: TrafficPolicy = toml::from_str(
            "sticky = 'tenant'\nversions = [{ version = 7 }]\nshadows = [{ version = 9, share = '1%' }]",
        )
        .unwrap();
        let changed = wanted(&["7=95%", "8=5%"]).changed("fraud", Some(current));
        let changed = changed.unwrap();
        assert_eq!(changed.sticky(), Some(&Attribute::Tenant));
        assert_eq!(changed.split().versions().len(), 2);
        assert_eq!(changed.shadows().len(), 1);
    }

    #[test]
    fn shadows_and_sticky_keys_can_be_removed() {
        let current: TrafficPolicy = toml::from_str(
            "sticky = 'tenant'\nversions = [{ version = 7 }]\nshadows = [{ version = 9, share = '1%' }]",
        )
        .unwrap();
        let wanted = WantedPolicy {
            sticky: Some(NONE.to_owned()),
            no_shadows: true,
            ..wanted(&[])
        };
        let changed = wanted.changed("fraud", Some(current)).unwrap();
        assert_eq!((changed.sticky(), changed.shadows().len()), (None, 0));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(weighted("8=5").unwrap_err().contains("is not a share"));
        assert!(weighted("=5%").unwrap_err().contains("is not a version"));
        assert!(shadow("9").unwrap_err().contains("9=10%"));
        let error = wanted(&["7=95%", "8=6%"]).changed("fraud", None);
        assert!(error.unwrap_err().to_string().contains("101%"));
        let error = wanted(&[]).changed("fraud", None).unwrap_err();
        assert!(error.to_string().contains("--weights"));
    }
}
