//! Models whose rows depend on each other, although warm-up found that they do not.

use super::*;

/// An engine that gives what a function makes of the rows of a batch.
#[derive(Clone)]
struct Mixing {
    signature: Signature,
    outputs: fn(&[f32]) -> Vec<f32>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Mixing {
    fn scheduler(outputs: fn(&[f32]) -> Vec<f32>) -> (Arc<Scheduler>, mpsc::Sender<()>) {
        let (open, gate) = mpsc::channel();
        let artifact = Arc::new(Self {
            signature: Signature::default(),
            outputs,
            gate: Arc::new(Mutex::new(gate)),
        });
        let metrics = RequestMetrics::new(&MetricRegistry::new());
        let scheduler = Scheduler::new(
            "mixing:1".into(),
            Limits::new(&Batching::default(), NonZeroUsize::new(8)),
            artifact.clone(),
            vec![artifact.instance().unwrap()],
            Arc::new(metrics.version_stats("mixing", "1", 8)),
        );
        (Arc::new(scheduler), open)
    }
}

impl LoadedArtifact for Mixing {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        1
    }

    fn run_time_is_bounded(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        Ok(Box::new(self.clone()))
    }
}

impl Instance for Mixing {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        // After the sender is dropped every run goes through.
        let _ = self.gate.lock().recv();
        let rows = inputs[0].as_ref().unwrap().to_vec::<f32>().unwrap();
        let outputs = (self.outputs)(&rows);
        let shape = Shape::new(&[outputs.len(), 1]).unwrap();
        Ok(vec![Tensor::from_vec(shape, outputs).unwrap()])
    }
}

async fn ask(scheduler: &Arc<Scheduler>, values: &'static [f32]) -> Vec<f32> {
    let answer = scheduler.submit(work(values)).await.unwrap();
    answer.outputs[0].to_vec().unwrap()
}

fn positive(rows: &[f32]) -> Vec<f32> {
    rows.iter().copied().filter(|row| *row > 0.0).collect()
}

/// Gives the same as [`doubled`] to each row alone.
fn doubled_and_sum_of_others(rows: &[f32]) -> Vec<f32> {
    let sum: f32 = rows.iter().sum();
    rows.iter().map(|row| row + sum).collect()
}

#[tokio::test]
async fn answers_that_do_not_follow_the_batch_axis_end_batching_and_no_request_fails() {
    let (scheduler, open) = Mixing::scheduler(positive);
    drop(open);
    assert_eq!(ask(&scheduler, &[1.0, -2.0, 3.0]).await, [1.0, 3.0]);
    assert!(scheduler.limits().batch_rows().is_none());
    assert!(scheduler.limits().contract.broken().is_some());
    assert_eq!(ask(&scheduler, &[-1.0, 2.0]).await, [2.0]);
    assert_eq!(ask(&scheduler, &[5.0]).await, [5.0]);
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_not_answered_in_parts_that_depend_on_each_other() {
    let (scheduler, open) = Mixing::scheduler(|rows| positive(rows).into_iter().rev().collect());
    drop(open);
    const ROWS: [f32; 10] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -1.0];
    let reversed: Vec<f32> = ROWS[..9].iter().rev().copied().collect();
    assert_eq!(ask(&scheduler, &ROWS).await, reversed);
}

#[tokio::test]
async fn a_sampled_row_that_differs_from_itself_alone_ends_batching() {
    let (scheduler, open) = Mixing::scheduler(doubled_and_sum_of_others);
    let first = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { ask(&scheduler, &[1.0]).await }
    });
    let mut others = Vec::new();
    while scheduler.queued() < 2 {
        if others.len() < 2 {
            let scheduler = scheduler.clone();
            others.push(tokio::spawn(
                async move { ask(&scheduler, &[1.0, 2.0]).await },
            ));
        }
        tokio::task::yield_now().await;
    }
    drop(open);
    first.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    while scheduler.limits().batch_rows().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&scheduler, &[3.0]).await, [6.0]);
}
