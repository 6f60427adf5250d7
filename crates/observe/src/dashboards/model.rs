//! The form of a dashboard:
//! <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>.

use serde_json::{Value, json};

/// The number of columns of Grafana's grid.
const COLUMNS: u32 = 24;
const ROW_HEIGHT: u32 = 8;

/// A dashboard.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// A name for its file, and its `uid` in Grafana.
    pub name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// How far back it shows, such as `now-6h`.
    pub(super) from: &'static str,
    /// The job's label matcher.
    pub(super) job: String,
    /// What lies side by side, in equal parts.
    pub(super) rows: Vec<Vec<Panel>>,
}

/// A panel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
    /// Grafana's name of the unit.
    pub(super) unit: &'static str,
    pub(super) queries: Vec<PanelQuery>,
}

/// How a panel shows what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines over time.
    Lines,
    /// The value of now, in large.
    Number,
    /// The values of now, with their labels.
    Table,
    /// Buckets of a histogram over time.
    Heatmap,
}

/// A query of a panel, and what its lines are called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PanelQuery {
    pub(super) expr: String,
    pub(super) legend: &'static str,
}

impl Panel {
    pub(super) fn lines(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            title,
            description,
            kind: Kind::Lines,
            unit,
            queries: Vec::new(),
        }
    }

    pub(super) fn number(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            kind: Kind::Number,
            ..Self::lines(title, unit, description)
        }
    }

    pub(super) fn table(title: &'static str, description: &'static str) -> Self {
        Self {
            kind: Kind::Table,
            ..Self::lines(title, "short", description)
        }
    }

    pub(super) fn heatmap(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            kind: Kind::Heatmap,
            ..Self::lines(title, unit, description)
        }
    }

    pub(super) fn query(mut self, legend: &'static str, expr: String) -> Self {
        self.queries.push(PanelQuery { expr, legend });
        self
    }

    fn json(&self, id: u32, place: &Value) -> Value {
        // Grafana names the queries of a panel by letters.
        let targets = self
            .queries
            .iter()
            .zip(b'A'..)
            .map(|(query, letter)| self.target(query, letter));
        json!({
            "id": id,
            "type": self.kind.plugin(),
            "title": self.title,
            "description": self.description,
            "gridPos": place,
            "datasource": datasource(),
            "targets": targets.collect::<Vec<_>>(),
            "fieldConfig": {"defaults": {"unit": self.unit, "min": self.minimum()}, "overrides": []},
            "options": self.kind.options(),
        })
    }

    fn target(&self, query: &PanelQuery, letter: u8) -> Value {
        // Numbers and tables show the value of now: a range would be computed for nothing.
        let now = matches!(self.kind, Kind::Number | Kind::Table);
        json!({
            "refId": char::from(letter).to_string(),
            "datasource": datasource(),
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": now,
            "range": !now,
            "format": match self.kind {
                Kind::Table => "table",
                Kind::Heatmap => "heatmap",
                Kind::Lines | Kind::Number => "time_series",
            },
        })
    }

    /// Axes begin at zero, except for values that can be negative.
    fn minimum(&self) -> Option<u32> {
        let below = self
            .queries
            .iter()
            .any(|query| query.expr.contains("budget_remaining"));
        (self.kind == Kind::Lines && !below).then_some(0)
    }
}

impl Kind {
    fn plugin(self) -> &'static str {
        match self {
            Self::Lines => "timeseries",
            Self::Number => "stat",
            Self::Table => "table",
            Self::Heatmap => "heatmap",
        }
    }

    fn options(self) -> Value {
        match self {
            Self::Lines => {
                json!({"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}})
            }
            Self::Number => {
                json!({"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"})
            }
            Self::Table => json!({"showHeader": true}),
            Self::Heatmap => json!({"calculate": false, "yAxis": {"unit": "s"}}),
        }
    }
}

impl Dashboard {
    /// The dashboard as Grafana imports it.
    pub fn to_json(&self) -> Value {
        json!({
            "uid": self.name,
            "title": self.title,
            "description": self.description,
            "tags": ["tidegate"],
            "schemaVersion": 39,
            "editable": true,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": self.from, "to": "now"},
            "templating": {"list": [datasource_variable(), self.model_variable()]},
            "annotations": {"list": self.annotations()},
            "links": [{"type": "dashboards", "title": "Tidegate", "tags": ["tidegate"], "keepTime": true, "includeVars": true}],
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        for (row, y) in self.rows.iter().zip((0..).step_by(ROW_HEIGHT as usize)) {
            let width = COLUMNS / u32::try_from(row.len()).unwrap_or(COLUMNS).max(1);
            for (panel, x) in row.iter().zip((0..).step_by(width as usize)) {
                let id = u32::try_from(panels.len()).unwrap_or(u32::MAX) + 1;
                panels.push(panel.json(id, &json!({"h": ROW_HEIGHT, "w": width, "x": x, "y": y})));
            }
        }
        panels
    }

    fn model_variable(&self) -> Value {
        let query = format!(
            "label_values(nv_inference_request_success{{{}}}, model)",
            self.job
        );
        json!({
            "name": "model", "label": "Model", "type": "query", "datasource": datasource(),
            "query": {"query": query, "refId": "model"}, "definition": query,
            "includeAll": true, "allValue": ".*", "multi": true, "refresh": 2, "sort": 1,
            "current": {"text": "All", "value": "$__all"},
        })
    }

    /// Marks where models were loaded and where alerts fired.
    fn annotations(&self) -> Vec<Value> {
        let loads = format!(
            "sum by (model) (increase(tidegate_model_loads_total{{{},outcome=\"ok\"}}[2m])) > 0",
            self.job
        );
        let pages = "ALERTS{alertname=~\"Tidegate.*\",alertstate=\"firing\",severity=\"page\"}";
        [("Loads", "blue", loads.as_str(), "{{model}} loaded"), ("Pages", "red", pages, "{{alertname}} {{slo}}")]
            .map(|(name, color, expr, title)| {
                json!({
                    "name": name, "enable": true, "iconColor": color, "datasource": datasource(), "expr": expr,
                    "titleFormat": title, "step": "60s",
                })
            })
            .into()
    }
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn datasource_variable() -> Value {
    json!({"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"})
}
