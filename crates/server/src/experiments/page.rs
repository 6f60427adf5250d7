//! The content of the console's page.

use tidegate_console::{ExperimentArmView, ExperimentMetricView, ExperimentView};
use tidegate_store::StoredExperiment;

use super::Experiments;
use super::report::{ArmReport, ExperimentReport, MetricReport};

impl Experiments {
    /// The newest experiments, with what they said last.
    pub(crate) fn page(&self) -> tidegate_console::Experiments {
        let newest = self.state.lock().newest.clone();
        let experiments = newest.iter().map(|experiment| self.view(experiment));
        tidegate_console::Experiments {
            experiments: experiments.collect(),
        }
    }

    fn view(&self, experiment: &StoredExperiment) -> ExperimentView {
        let report: Option<ExperimentReport> = serde_json::from_str(&experiment.report).ok();
        let arms = report.iter().flat_map(|report| &report.arms);
        let reason = Some(experiment.reason.clone()).filter(|reason| !reason.is_empty());
        ExperimentView {
            name: experiment.name.clone(),
            endpoint: experiment.endpoint.clone(),
            is_running: experiment.ended_ms.is_none(),
            is_assigned: self.is_in_policy(experiment),
            reason,
            arms: arms.map(arm).collect(),
            conclusion: report.map(|report| report.conclusion),
        }
    }
}

fn arm(arm: &ArmReport) -> ExperimentArmView {
    ExperimentArmView {
        version: arm.version.clone(),
        share: arm.share.to_string(),
        users: arm.users,
        metrics: arm.metrics.iter().map(metric).collect(),
    }
}

fn metric(metric: &MetricReport) -> ExperimentMetricView {
    let difference = metric.difference.as_ref();
    ExperimentMetricView {
        name: metric.name.clone(),
        is_guardrail: metric.is_guardrail,
        mean: metric.mean,
        difference: difference.map(|found| [found.estimate, found.low, found.high]),
        verdict: difference.map(|found| found.verdict.name().to_owned()),
    }
}
