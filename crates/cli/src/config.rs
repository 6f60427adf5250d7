//! Configuration: a file, overridden by the environment, overridden by flags.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tidegate_core::EngineChoice;
use tidegate_observe::Objective;
use tidegate_observe::cost::CostConfig;
use tidegate_registry::RegistryConfig;
use tidegate_server::{AlertsConfig, ConsoleConfig, GpuConfig, ReplicasConfig, ServerConfig};
use tidegate_serving::FleetConfig;
use tidegate_traces::TracesConfig;

use crate::args::{LogFormat, Serve};

/// `tidegate.toml`. Every key can be set in the environment as `TIDEGATE_SECTION__KEY`, and
/// top-level ones as `TIDEGATE_KEY`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What to serve.
    pub(crate) models: Vec<PathBuf>,
    /// The folder that belongs to this server.
    pub(crate) data: Option<PathBuf>,
    /// The front ends.
    pub(crate) server: ServerConfig,
    /// The pages for people.
    pub(crate) console: ConsoleConfig,
    /// The engines.
    pub(crate) engines: EnginesConfig,
    /// The log.
    pub(crate) log: LogConfig,
    /// The model registry.
    pub(crate) registry: RegistryConfig,
    /// What is loaded of the registry.
    pub(crate) fleet: FleetConfig,
    /// The service level objectives.
    pub(crate) slo: Vec<Objective>,
    /// Further alerts, and who hears of all of them.
    pub(crate) alerts: AlertsConfig,
    /// What serving costs.
    pub(crate) cost: CostConfig,
    /// The traces of requests.
    pub(crate) traces: TracesConfig,
    /// Which servers belong together.
    pub(crate) replicas: ReplicasConfig,
    /// What is looked at of GPUs.
    pub(crate) gpu: GpuConfig,
}

/// The `[engines]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnginesConfig {
    /// The engine of models that do not choose one themselves.
    pub(crate) default: EngineChoice,
    /// The path of ONNX Runtime's shared library; looked for if absent.
    pub(crate) onnxruntime: Option<PathBuf>,
}

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// What is logged, as in `info` or `warn,tidegate_serving=debug`.
    pub(crate) level: String,
    /// `text` for people, `json` for machines.
    pub(crate) format: LogFormatName,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormatName::Text,
        }
    }
}

/// See [`LogConfig::format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormatName {
    #[default]
    Text,
    Json,
}

const PREFIX: &str = "TIDEGATE_";
/// Top-level keys that the environment may set.
const TOP_LEVEL: [&str; 2] = ["models", "data"];

/// Reads the configuration that these flags and this environment ask for. An empty variable counts
/// as not set.
pub(crate) fn load(
    args: &Serve,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config> {
    let mut table = match &args.config {
        None => toml::Table::new(),
        Some(path) => read(path)?,
    };
    let mut config = parse(&table)?;
    for (name, value) in
        environment.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
    {
        overlay(&mut table, &name, &value)?;
        config = parse(&table).with_context(|| format!("the environment's {name} is wrong"))?;
    }
    if !args.paths.is_empty() {
        config.models.clone_from(&args.paths);
    }
    config.data = args.data.clone().or(config.data);
    config.server.http = args.http.unwrap_or(config.server.http);
    config.server.grpc = args.grpc.unwrap_or(config.server.grpc);
    if args.registry {
        config.fleet.follow = Some(true);
    }
    if let Some(engine) = args.engine {
        config.engines.default = engine.into();
    }
    match args.log_format {
        None => {}
        Some(LogFormat::Text) => config.log.format = LogFormatName::Text,
        Some(LogFormat::Json) => config.log.format = LogFormatName::Json,
    }
    Ok(config)
}

/// Reads a file and holds it against the known keys while its positions are known.
fn read(path: &Path) -> Result<toml::Table> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let complain =
        |error: toml::de::Error| anyhow!("{}: {}", path.display(), with_hint(&error.to_string()));
    toml::from_str::<Config>(&text).map_err(complain)?;
    toml::from_str(&text).map_err(complain)
}

fn parse(table: &toml::Table) -> Result<Config> {
    let config = toml::Value::Table(table.clone()).try_into();
    config.map_err(|error: toml::de::Error| anyhow!(with_hint(error.message())))
}

/// Puts `TIDEGATE_SERVER__HTTP=…` at `server.http`.
fn overlay(table: &mut toml::Table, name: &str, value: &str) -> Result<()> {
    let Some(path) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else {
        return Ok(());
    };
    let keys: Vec<&str> = path.split("__").collect();
    let (key, value) = match keys.as_slice() {
        ["models"] => {
            let paths = std::env::split_paths(value)
                .map(|path| toml::Value::from(path.display().to_string()));
            ("models", toml::Value::Array(paths.collect()))
        }
        [key] if TOP_LEVEL.contains(key) => (*key, toml::Value::from(value)),
        // Others, such as TIDEGATE_ONNXRUNTIME, are no settings of this file.
        [_] => return Ok(()),
        [section, key] => {
            let section = table
                .entry(*section)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let Some(section) = section.as_table_mut() else {
                bail!("{name}: there is no such section")
            };
            section.insert((*key).to_owned(), scalar(value));
            return Ok(());
        }
        _ => bail!("{name}: write it as {PREFIX}SECTION__KEY"),
    };
    table.insert(key.to_owned(), value);
    Ok(())
}

/// A number, bool or list where the text is one, else the text.
fn scalar(text: &str) -> toml::Value {
    if let Some(list) = text
        .starts_with('[')
        .then(|| format!("list = {text}").parse::<toml::Table>())
        .and_then(Result::ok)
        && let Some(list) = list.get("list")
    {
        return list.clone();
    }
    let whole = text.parse().map(toml::Value::Integer).ok();
    let is_number = text.contains('.')
        && text
            .trim_start_matches(['-', '+'])
            .starts_with(|first: char| first.is_ascii_digit());
    let number = whole.or_else(|| {
        text.parse()
            .ok()
            .filter(|_| is_number)
            .map(toml::Value::Float)
    });
    number
        .or_else(|| text.parse().map(toml::Value::Boolean).ok())
        .unwrap_or_else(|| toml::Value::from(text))
}

/// Adds the nearest known key to serde's message on an unknown one.
fn with_hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = message.contains("unknown field").then(|| {
        let unknown = quoted.next()?;
        quoted
            .map(|known| (strsim::jaro_winkler(unknown, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    });
    match nearest.flatten() {
        Some((likeness, known)) if likeness > 0.7 => {
            format!("{}\nhint: did you mean `{known}`?", message.trim_end())
        }
        _ => message.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::cost::BudgetConfig;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.toml");
        std::fs::write(
            &path,
            "[server]\nhttp = \"127.0.0.1:1\"\ngrpc = \"127.0.0.1:2\"\nmax_body_bytes = 3\n",
        )
        .unwrap();
        let args = Serve {
            config: Some(path),
            grpc: Some("127.0.0.1:9".parse().unwrap()),
            ..Serve::default()
        };
        let set = [
            ("TIDEGATE_SERVER__MAX_BODY_BYTES", "5"),
            ("TIDEGATE_ONNXRUNTIME", "x"),
            ("HOME", "y"),
        ];
        let config = load(&args, environment(&set)).unwrap();
        assert_eq!(config.server.http.port(), 1);
        assert_eq!(config.server.grpc.port(), 9);
        assert_eq!(config.server.max_body_bytes, 5);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.toml");
        std::fs::write(&path, "[server]\nmax_body_byte = 3\n").unwrap();
        let error = load(
            &Serve {
                config: Some(path),
                ..Serve::default()
            },
            environment(&[]),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("line 2") && error.contains("did you mean `max_body_bytes`?"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_variable_is_named_and_an_empty_one_is_none() {
        let message = |pairs: &[(&str, &str)]| {
            let error = load(&Serve::default(), environment(pairs)).unwrap_err();
            format!("{error:#}")
        };
        let error = message(&[("TIDEGATE_SERVER__HTP", "x")]);
        assert!(
            error.contains("TIDEGATE_SERVER__HTP") && error.contains("did you mean `http`?"),
            "{error}"
        );
        let error = message(&[
            ("TIDEGATE_LOG__LEVEL", "warn"),
            ("TIDEGATE_SERVER__HTTP", "localhost:8000"),
        ]);
        assert!(
            error.contains("TIDEGATE_SERVER__HTTP") && !error.contains("TIDEGATE_LOG__LEVEL"),
            "{error}"
        );
        let unset = [
            ("TIDEGATE_DATA", ""),
            ("TIDEGATE_MODELS", ""),
            ("TIDEGATE_SERVER__HTTP", ""),
        ];
        assert_eq!(
            load(&Serve::default(), environment(&unset)).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_share_comes_from_the_environment_as_the_file_has_it() {
        for (text, share) in [("0.25", 0.25), ("1", 1.0)] {
            let config = load(
                &Serve::default(),
                environment(&[("TIDEGATE_TRACES__SAMPLE", text)]),
            )
            .unwrap();
            assert_eq!(config.traces.sample, share);
        }
        assert!(
            load(
                &Serve::default(),
                environment(&[("TIDEGATE_TRACES__SAMPLE", "0.x")])
            )
            .is_err()
        );
    }

    #[test]
    fn a_list_comes_from_the_environment_as_the_file_has_it() {
        let set = [
            ("TIDEGATE_FLEET__PINNED", "[\"a\", \"b\"]"),
            ("TIDEGATE_FLEET__VERSIONS", "latest:2"),
        ];
        let config = load(&Serve::default(), environment(&set)).unwrap();
        assert_eq!(
            (config.fleet.pinned, config.fleet.versions.to_string()),
            (vec!["a".into(), "b".into()], "latest:2".into())
        );
        let error = load(
            &Serve::default(),
            environment(&[("TIDEGATE_FLEET__VERSIONS", "newest")]),
        )
        .unwrap_err();
        assert!(
            format!("{error:#}").contains("\"newest\" is not a version policy"),
            "{error:#}"
        );
    }

    #[test]
    fn a_price_comes_from_the_environment() {
        let set = [
            ("TIDEGATE_COST__CURRENCY", "EUR"),
            ("TIDEGATE_COST__VCPU_HOUR", "0.04"),
            ("TIDEGATE_COST__VCPUS", "2"),
        ];
        let cost = load(&Serve::default(), environment(&set)).unwrap().cost;
        assert_eq!(
            (cost.currency.as_str(), cost.vcpu_hour, cost.vcpus),
            ("EUR", 0.04, 2.0)
        );
    }

    #[test]
    fn every_key_is_in_the_reference_with_its_variable_and_default() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/configuration.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        // `None` is not written: keys that may be absent get a value.
        let Config {
            models,
            data: _,
            server,
            console,
            engines,
            log,
            registry,
            mut fleet,
            slo: _,
            alerts,
            cost,
            traces,
            replicas,
            gpu: _,
        } = Config::default();
        (fleet.follow, fleet.memory_budget_bytes) = (Some(true), Some(1));
        let EnginesConfig {
            default,
            onnxruntime: _,
        } = engines;
        let path = || Some(PathBuf::from("a path"));
        let text = || Some("a path".to_owned());
        let traces = TracesConfig {
            endpoint: text(),
            headers_file: path(),
            service_name: text(),
            ..traces
        };
        let engines = EnginesConfig {
            default,
            onnxruntime: path(),
        };
        let gpu = GpuConfig { nvml: path() };
        let config = Config {
            models,
            data: path(),
            server,
            console,
            engines,
            log,
            registry,
            fleet,
            slo: Vec::new(),
            alerts,
            cost,
            traces,
            replicas: ReplicasConfig {
                group: text(),
                database: text(),
                ..replicas
            },
            gpu,
        };
        let mut all = toml::Table::try_from(config).unwrap();
        let registry = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/registry-configuration.md"
        );
        let registry = std::fs::read_to_string(registry).unwrap();
        for key in all.remove("registry").unwrap().as_table().unwrap().keys() {
            let told = registry.contains(&format!("\n| `{key}` |"))
                || registry.contains(&format!("\n| `{key}."));
            assert!(
                told,
                "registry.{key} is not in docs/reference/registry-configuration.md"
            );
        }
        all.remove("slo");
        let budgets = all
            .get_mut("cost")
            .and_then(toml::Value::as_table_mut)
            .unwrap()
            .remove("budget");
        assert!(budgets.is_some() && page.contains("\n| `cost.budget` |"));
        let budget = BudgetConfig {
            model: Some(String::new()),
            ..BudgetConfig::default()
        };
        for key in toml::Table::try_from(budget).unwrap().keys() {
            let row = format!("\n| `cost.budget.{key}` |");
            assert!(
                page.contains(&row),
                "cost.budget.{key} is not in docs/reference/configuration.md"
            );
        }
        let objective = Objective {
            threshold_ms: Some(1.0),
            ..Objective::default()
        };
        for key in toml::Table::try_from(objective).unwrap().keys() {
            assert!(
                page.contains(&format!("\n| `slo.{key}` |")),
                "slo.{key} is not in docs/reference/configuration.md"
            );
        }
        let inhibit = Some(tidegate_observe::alerting::Inhibition::defaults());
        let alerts = toml::Table::try_from(AlertsConfig {
            inhibit,
            ..AlertsConfig::default()
        })
        .unwrap();
        assert!(page.contains("\n| `alerts.inhibit` |"));
        for (section, keys) in alert_sections(alerts) {
            for key in keys.keys() {
                let row = format!("\n| `{section}.{key}` |");
                assert!(
                    page.contains(&row),
                    "{section}.{key} is not in docs/reference/configuration.md"
                );
            }
        }
        let traces = all
            .get_mut("traces")
            .and_then(toml::Value::as_table_mut)
            .unwrap();
        traces.insert("protocol".to_owned(), toml::Value::from("a path"));
        let fleet = all
            .get_mut("fleet")
            .and_then(toml::Value::as_table_mut)
            .unwrap();
        // Absent by default, and a table that no variable sets.
        for key in ["follow", "memory_budget_bytes"] {
            fleet.insert(key.to_owned(), toml::Value::from("a path"));
        }
        fleet.remove("model");
        assert!(page.contains("\n| `fleet.model` |"));
        for (section, value) in &all {
            match value.as_table() {
                None => check_row(&page, section, section, value),
                Some(keys) => keys.iter().for_each(|(key, value)| {
                    check_row(
                        &page,
                        &format!("{section}.{key}"),
                        &format!("{section}__{key}"),
                        value,
                    )
                }),
            }
        }
    }

    /// The sections under `[alerts]`, each with all of its keys.
    fn alert_sections(alerts: toml::Table) -> Vec<(&'static str, toml::Table)> {
        use tidegate_observe::alerting::RuleConfig;
        use tidegate_server::{
            PagerDutyConfig, RouteConfig, SlackConfig, SmtpConfig, WebhookConfig,
        };
        let file = || Some(PathBuf::from("a path"));
        let rule = RuleConfig {
            metric: Some(String::new()),
            event: Some(String::new()),
            ..RuleConfig::default()
        };
        let webhook = WebhookConfig {
            url_file: file(),
            secret_file: file(),
            template_file: file(),
            ..WebhookConfig::default()
        };
        let slack = SlackConfig {
            url_file: file(),
            ..SlackConfig::default()
        };
        let pagerduty = PagerDutyConfig {
            routing_key_file: file(),
            ..PagerDutyConfig::default()
        };
        let smtp = SmtpConfig {
            url_file: file(),
            ..SmtpConfig::default()
        };
        let route = RouteConfig {
            group_by: Some(Vec::new()),
            group_wait_s: Some(0),
            group_interval_s: Some(0),
            repeat_interval_s: Some(0),
            max_messages_per_hour: Some(0),
            alertmanager: Some(String::new()),
            webhook: Some(webhook.clone()),
            slack: Some(slack.clone()),
            pagerduty: Some(pagerduty.clone()),
            smtp: Some(smtp.clone()),
            ..RouteConfig::default()
        };
        let inhibition = alerts["inhibit"][0].as_table().unwrap().clone();
        vec![
            ("alerts.rules", toml::Table::try_from(rule).unwrap()),
            ("alerts.routes", toml::Table::try_from(route).unwrap()),
            (
                "alerts.routes.webhook",
                toml::Table::try_from(webhook).unwrap(),
            ),
            ("alerts.routes.slack", toml::Table::try_from(slack).unwrap()),
            (
                "alerts.routes.pagerduty",
                toml::Table::try_from(pagerduty).unwrap(),
            ),
            ("alerts.routes.smtp", toml::Table::try_from(smtp).unwrap()),
            ("alerts.inhibit", inhibition),
        ]
    }

    fn check_row(page: &str, key: &str, variable: &str, value: &toml::Value) {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("{key} is not in docs/reference/configuration.md"));
        let variable = format!("`{PREFIX}{}`", variable.to_uppercase());
        assert!(
            row.contains(&variable),
            "{key}: {variable} is not in its row"
        );
        let default = if value.as_str() == Some("a path") {
            "| none |".to_owned()
        } else {
            format!("| `{value}` |")
        };
        assert!(
            row.contains(&default),
            "{key}: its default, {default}, is not in its row"
        );
    }
}
