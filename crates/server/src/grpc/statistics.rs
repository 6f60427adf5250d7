//! The statistics of a version, as the protocol has them.

use tidegate_protocol::inference as pb;
use tidegate_serving::{DurationFigures, Version};

pub(super) fn statistics(version: &Version) -> pb::ModelStatistics {
    let figures = version.figures();
    let batches = figures
        .batches
        .iter()
        .map(|batch| pb::InferBatchStatistics {
            batch_size: batch.batch_size,
            compute_input: duration(batch.compute_input),
            compute_infer: duration(batch.compute_infer),
            // Splitting is not timed by batch size; its count is that of the runs.
            compute_output: duration(DurationFigures {
                count: batch.compute_infer.count,
                ns: 0,
            }),
        });
    pb::ModelStatistics {
        name: version.model().to_owned(),
        version: version.number().to_owned(),
        last_inference: figures.last_inference_ms,
        inference_count: figures.inference_count,
        execution_count: figures.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: duration(figures.success),
            fail: duration(figures.fail),
            queue: duration(figures.queue),
            compute_input: duration(figures.compute_input),
            compute_infer: duration(figures.compute_infer),
            compute_output: duration(figures.compute_output),
            cache_hit: duration(figures.cache_hit),
            cache_miss: duration(figures.cache_miss),
        }),
        batch_stats: batches.collect(),
        ..pb::ModelStatistics::default()
    }
}

fn duration(figures: DurationFigures) -> Option<pb::StatisticDuration> {
    Some(pb::StatisticDuration {
        count: figures.count,
        ns: figures.ns,
    })
}
