use tidegate_observe::cost::BudgetConfig;
use tidegate_server::CapturedEndpoint;
use tidegate_serving::FallbackConfig;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn the_environment_overrides_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let text = "[server]\nhttp = \"127.0.0.1:1\"\nmax_body_bytes = 3\n";
    std::fs::write(&path, text).unwrap();
    let set = [
        ("TIDEGATE_SERVER__MAX_BODY_BYTES", "5"),
        ("TIDEGATE_ONNXRUNTIME", "x"),
        ("HOME", "y"),
    ];
    let config = load(Some(&path), environment(&set)).unwrap();
    assert_eq!(config.server.http.port(), 1);
    assert_eq!(config.server.max_body_bytes, 5);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, "[server]\nmax_body_byte = 3\n").unwrap();
    let error = load(Some(&path), environment(&[])).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("did you mean `max_body_bytes`?"),
        "{error}"
    );
}

#[test]
fn a_wrong_variable_is_named_and_an_empty_one_is_ignored() {
    let message = |pairs: &[(&str, &str)]| {
        let error = load(None, environment(pairs)).unwrap_err();
        format!("{error:#}")
    };
    let error = message(&[("TIDEGATE_SERVER__HTP", "x")]);
    assert!(
        error.contains("TIDEGATE_SERVER__HTP") && error.contains("did you mean `http`?"),
        "{error}"
    );
    let error = message(&[
        ("TIDEGATE_LOG__LEVEL", "warn"),
        ("TIDEGATE_SERVER__HTTP", "example.org"),
    ]);
    assert!(
        error.contains("TIDEGATE_SERVER__HTTP: \"example.org\" is not an address: write IP:PORT")
            && !error.contains("TIDEGATE_LOG__LEVEL"),
        "{error}"
    );
    let unset = [
        ("TIDEGATE_DATA", ""),
        ("TIDEGATE_MODELS", ""),
        ("TIDEGATE_SERVER__HTTP", ""),
    ];
    assert_eq!(load(None, environment(&unset)).unwrap(), Config::default());
}

#[test]
fn a_ratio_in_the_environment_reads_as_in_the_file() {
    for (text, share) in [("0.25", 0.25), ("1", 1.0)] {
        let config = load(None, environment(&[("TIDEGATE_TRACES__SAMPLE", text)])).unwrap();
        assert_eq!(config.traces.sample, share);
    }
    assert!(load(None, environment(&[("TIDEGATE_TRACES__SAMPLE", "0.x")])).is_err());
}

#[test]
fn a_list_in_the_environment_reads_as_in_the_file() {
    let set = [
        ("TIDEGATE_FLEET__PINNED", "[\"a\", \"b\"]"),
        ("TIDEGATE_FLEET__VERSIONS", "latest:2"),
    ];
    let config = load(None, environment(&set)).unwrap();
    assert_eq!(
        (config.fleet.pinned, config.fleet.versions.to_string()),
        (vec!["a".into(), "b".into()], "latest:2".into())
    );
    let error = load(None, environment(&[("TIDEGATE_FLEET__VERSIONS", "newest")])).unwrap_err();
    assert!(
        format!("{error:#}").contains("\"newest\" is not a version policy"),
        "{error:#}"
    );
}

#[test]
fn a_section_within_a_section_can_be_set_in_the_environment() {
    let set = [("TIDEGATE_REGISTRY__ENCRYPTION__KEY_FILE", "/keys/data")];
    let registry = load(None, environment(&set)).unwrap().registry;
    assert_eq!(
        registry.encryption.key_file,
        Some(PathBuf::from("/keys/data"))
    );
}

#[test]
fn a_price_can_be_set_in_the_environment() {
    let set = [
        ("TIDEGATE_COST__CURRENCY", "EUR"),
        ("TIDEGATE_COST__VCPU_HOUR", "0.04"),
        ("TIDEGATE_COST__VCPUS", "2"),
    ];
    let cost = load(None, environment(&set)).unwrap().cost;
    assert_eq!(
        (cost.currency.as_str(), cost.vcpu_hour, cost.vcpus),
        ("EUR", 0.04, 2.0)
    );
}

fn every_key_of_an_issuer() -> tidegate_tokens::JwtIssuerConfig {
    let text = || Some("a".to_owned());
    tidegate_tokens::JwtIssuerConfig {
        jwks_url: text(),
        tenant_claim: text(),
        groups_claim: text(),
        ca_file: Some(PathBuf::from("a path")),
        ..Default::default()
    }
}

fn every_key_of_a_binding() -> tidegate_gateway::BindingConfig {
    let text = || Some("a".to_owned());
    tidegate_gateway::BindingConfig {
        role: tidegate_gateway::Role::Viewer,
        resources: Vec::new(),
        issuer: text(),
        subject: text(),
        group: text(),
        claims: std::collections::BTreeMap::new(),
        certificate: text(),
        tenant: text(),
    }
}

fn every_key_of_a_limit() -> tidegate_gateway::LimitConfig {
    let (text, rate, count) = (Some("a".to_owned()), Some(1.0), Some(1));
    tidegate_gateway::LimitConfig {
        name: "a".to_owned(),
        tenant: text.clone(),
        principal: text.clone(),
        endpoint: text,
        requests_per_second: rate,
        burst_requests: count,
        rows_per_second: rate,
        burst_rows: count,
        max_in_flight: Some(1),
        requests_per_day: count,
        requests_per_month: count,
        rows_per_day: count,
        rows_per_month: count,
    }
}

fn every_key_of_a_store() -> tidegate_features::StoreConfig {
    let path = || Some(PathBuf::from("a path"));
    tidegate_features::StoreConfig {
        password_file: path(),
        token_file: path(),
        ca_file: path(),
        ..Default::default()
    }
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
        platform: _,
        redis: _,
        tls,
        mut auth,
        mut limits,
        mut cache,
        mut capture,
        datasets,
        mut rollouts,
        mut features,
        endpoints: _,
        audit,
        privacy,
        console,
        engines,
        log,
        registry,
        mut fleet,
        slo: _,
        retrain: _,
        alerts,
        cost,
        traces,
        replicas,
        gpu: _,
    } = Config::default();
    cache.endpoint.push(Default::default());
    let window = "days = ['mon']\nfrom = '09:00'\nto = '16:00'\nutc_offset_minutes = 60";
    rollouts.deploy_window.push(toml::from_str(window).unwrap());
    capture.endpoint.push(CapturedEndpoint {
        name: "a".to_owned(),
        rate: 1.0,
    });
    (capture.folder, capture.database) = (Some(PathBuf::from("a path")), Some("a path".to_owned()));
    features.store.push(every_key_of_a_store());
    limits.rule.push(every_key_of_a_limit());
    limits.tenant.push(Default::default());
    auth.issuer.push(every_key_of_an_issuer());
    auth.binding.push(every_key_of_a_binding());
    auth.login = tidegate_gateway::LoginConfig {
        public_url: Some("a path".to_owned()),
        issuer: Some("a path".to_owned()),
        client_secret_file: Some(PathBuf::from("a path")),
        ..auth.login
    };
    (fleet.follow, fleet.memory_budget_bytes) = (Some(true), Some(1));
    let path = || Some(PathBuf::from("a path"));
    let text = || Some("a path".to_owned());
    let traces = TracesConfig {
        endpoint: text(),
        headers_file: path(),
        service_name: text(),
        ..traces
    };
    let engines = EnginesConfig {
        onnxruntime: path(),
        ..engines
    };
    let gpu = GpuConfig { nvml: path() };
    let config = Config {
        models,
        data: path(),
        server,
        platform: PlatformConfig::default(),
        redis: RedisConfig::default(),
        tls: TlsConfig {
            cert_file: path(),
            key_file: path(),
            client_ca_file: path(),
            ..tls
        },
        auth: AuthConfig {
            database: text(),
            policies: path(),
            ..auth
        },
        limits,
        cache,
        capture,
        datasets,
        rollouts,
        features,
        endpoints: vec![every_key_of_an_endpoint()],
        audit: tidegate_gateway::AuditConfig {
            database: text(),
            ..audit
        },
        privacy,
        console,
        engines,
        log,
        registry,
        fleet,
        slo: Vec::new(),
        retrain: vec![every_key_of_a_rule()],
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
        let is_documented = registry.contains(&format!("\n| `{key}` |"))
            || registry.contains(&format!("\n| `{key}."));
        assert!(
            is_documented,
            "registry.{key} is not in docs/reference/registry-configuration.md"
        );
    }
    all.remove("slo");
    let rules = all.remove("retrain").unwrap();
    for key in rules[0].as_table().unwrap().keys() {
        let row = format!("\n| `retrain.{key}` |");
        assert!(page.contains(&row), "retrain.{key} is not in the reference");
    }
    let platform = all.get_mut("platform").and_then(toml::Value::as_table_mut);
    let platform = platform.unwrap();
    for key in ["contract", "model", "port", "health_path", "predict_path"] {
        platform.insert(key.to_owned(), toml::Value::from("a path"));
    }
    let redis = all.get_mut("redis").and_then(toml::Value::as_table_mut);
    let redis = redis.unwrap();
    for key in ["url", "password_file", "ca_file"] {
        redis.insert(key.to_owned(), toml::Value::from("a path"));
    }
    let cache = all.get_mut("cache").and_then(toml::Value::as_table_mut);
    cache
        .unwrap()
        .insert("redis_secret".to_owned(), toml::Value::from("a path"));
    for (section, list) in [
        ("cache", "endpoint"),
        ("capture", "endpoint"),
        ("rollouts", "deploy_window"),
        ("features", "store"),
        ("limits", "rule"),
        ("limits", "tenant"),
        ("auth", "issuer"),
        ("auth", "binding"),
    ] {
        let table = all.get_mut(section).and_then(toml::Value::as_table_mut);
        let entries = table.unwrap().remove(list).unwrap();
        for key in entries[0].as_table().unwrap().keys() {
            let row = format!("\n| `{section}.{list}.{key}` |");
            assert!(
                page.contains(&row),
                "{section}.{list}.{key} is not in the reference"
            );
        }
    }
    let capture = all.get_mut("capture").and_then(toml::Value::as_table_mut);
    let drift = capture.unwrap().remove("drift").unwrap();
    for (key, value) in drift.as_table().unwrap() {
        let variable = format!("capture__drift__{key}");
        check_row(&page, &format!("capture.drift.{key}"), &variable, value);
    }
    let auth = all.get_mut("auth").and_then(toml::Value::as_table_mut);
    let login = auth.unwrap().remove("login").unwrap();
    for (key, value) in login.as_table().unwrap() {
        let (key, variable) = (format!("auth.login.{key}"), format!("auth__login__{key}"));
        check_row(&page, &key, &variable, value);
    }
    let endpoints = all.remove("endpoints").unwrap();
    check_endpoint(&page, endpoints[0].as_table().unwrap());
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
    let engines = all
        .get_mut("engines")
        .and_then(toml::Value::as_table_mut)
        .unwrap();
    // Absent by default, as a path may be.
    engines.insert(
        "load_trial_memory_bytes".to_owned(),
        toml::Value::from("a path"),
    );
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

fn every_key_of_a_rule() -> RetrainConfig {
    RetrainConfig {
        drift_windows: Some(1),
        accuracy_below: Some(1.0),
        accuracy_above: Some(1.0),
        estimated_accuracy_below: Some(1.0),
        new_labels: Some(1),
        every_s: Some(1),
        webhook: Some(Default::default()),
        ..RetrainConfig::default()
    }
}

fn every_key_of_an_endpoint() -> EndpointConfig {
    EndpointConfig {
        breaker: Some(Default::default()),
        fallback: vec![FallbackConfig {
            version: Some(String::new()),
            endpoint: Some(String::new()),
            cached_max_age_ms: Some(1),
            constant: Some(Default::default()),
        }],
        ..EndpointConfig::default()
    }
}

fn check_endpoint(page: &str, endpoint: &toml::Table) {
    let mut keys: Vec<String> = endpoint.keys().cloned().collect();
    keys.retain(|key| key != "fallback");
    let breaker = endpoint["breaker"].as_table().unwrap().keys();
    keys.extend(breaker.map(|key| format!("breaker.{key}")));
    let fallback = endpoint["fallback"][0].as_table().unwrap().keys();
    keys.extend(fallback.map(|key| format!("fallback.{key}")));
    for key in keys {
        let row = format!("\n| `endpoints.{key}` |");
        assert!(
            page.contains(&row),
            "endpoints.{key} is not in the reference"
        );
    }
}

/// The sections under `[alerts]`, each with all of its keys.
fn alert_sections(alerts: toml::Table) -> Vec<(&'static str, toml::Table)> {
    use tidegate_observe::alerting::RuleConfig;
    use tidegate_server::{PagerDutyConfig, RouteConfig, SlackConfig, SmtpConfig, WebhookConfig};
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
