//! All steps by their names, and those from the outputs of the engine to the answer.

use std::sync::Arc;

use tidegate_core::{
    ArgmaxStep, CalibrateStep, Calibration, ConcatStep, LabelStep, PickStep, RenameStep, RoundStep,
    SigmoidStep, SoftmaxStep, StepSpec, ThresholdStep, TopKStep,
};

use super::Compiler;
use super::names::check_numbers;
use crate::error::CompileError;
use crate::ops::{AtPlaces, Calibrate, Label, Places, Round, Sigmoid, Softmax, Threshold};
use crate::program::{Kind, Op, Source};

impl Compiler<'_> {
    /// Adds one step.
    pub(super) fn step(&mut self, step: &StepSpec) -> Result<(), CompileError> {
        match step {
            StepSpec::Fitted(step) => self.fitted(step),
            StepSpec::Rename(step) => self.rename(step),
            StepSpec::Cast(step) => self.cast(step),
            StepSpec::Impute(step) => self.impute(step),
            StepSpec::Scale(step) => self.scale(step),
            StepSpec::Function(step) => self.function(step),
            StepSpec::Clip(step) => self.clip(step),
            StepSpec::Bucketize(step) => self.bucketize(step),
            StepSpec::OneHot(step) => self.one_hot(step),
            StepSpec::Ordinal(step) => self.ordinal(step),
            StepSpec::Hash(step) => self.hash(step),
            StepSpec::DateParts(step) => self.date_parts(step),
            StepSpec::Cyclical(step) => self.cyclical(step),
            StepSpec::Ratio(step) => self.ratio(step),
            StepSpec::Cross(step) => self.cross(step),
            StepSpec::Expression(step) => self.expression(step),
            StepSpec::Image(step) => self.image(step),
            StepSpec::Audio(step) => self.audio(step),
            StepSpec::MelSpectrogram(step) => self.mel_spectrogram(step),
            StepSpec::Concat(step) => self.concat(step),
            StepSpec::Pick(step) => self.pick(step),
            StepSpec::Softmax(step) => self.softmax(step),
            StepSpec::Sigmoid(step) => self.sigmoid(step),
            StepSpec::Argmax(step) => self.argmax(step),
            StepSpec::TopK(step) => self.top_k(step),
            StepSpec::Label(step) => self.label(step),
            StepSpec::Threshold(step) => self.threshold(step),
            StepSpec::Round(step) => self.round(step),
            StepSpec::Calibrate(step) => self.calibrate(step),
            StepSpec::Tokenize(step) => self.tokenize(step),
            StepSpec::Pool(step) => self.pool(step),
            StepSpec::Normalize(step) => self.normalize(step),
        }
    }

    fn rename(&mut self, step: &RenameStep) -> Result<(), CompileError> {
        let sources = self.names.find(&step.input)?;
        self.names.define_result(&step.output, &[], sources)
    }

    fn concat(&mut self, step: &ConcatStep) -> Result<(), CompileError> {
        let mut sources = Vec::new();
        for input in &step.inputs {
            sources.extend(self.names.find(input)?);
        }
        check_numbers(&sources)?;
        self.names.define_result(&step.output, &[], sources)
    }

    fn pick(&mut self, step: &PickStep) -> Result<(), CompileError> {
        let sources = self.names.find(&step.input)?;
        let Some(source) = sources.get(step.index) else {
            let (name, count) = (&step.input, sources.len());
            let problem = format!(
                "\"{name}\" has {count} columns, none is number {}",
                step.index
            );
            return Err(CompileError::new(problem));
        };
        self.names
            .define_result(&step.output, &[], vec![source.clone()])
    }

    fn softmax(&mut self, step: &SoftmaxStep) -> Result<(), CompileError> {
        self.each(&step.input, step.output.as_deref(), Softmax)
    }

    fn sigmoid(&mut self, step: &SigmoidStep) -> Result<(), CompileError> {
        self.each(&step.input, step.output.as_deref(), Sigmoid)
    }

    fn round(&mut self, step: &RoundStep) -> Result<(), CompileError> {
        let scale = 10f64.powi(i32::from(step.digits));
        self.each(&step.input, step.output.as_deref(), Round { scale })
    }

    fn calibrate(&mut self, step: &CalibrateStep) -> Result<(), CompileError> {
        if let Calibration::Isotonic { x, y } = &step.calibration {
            let ascends = x.windows(2).all(|pair| pair[0] < pair[1]);
            if x.is_empty() || x.len() != y.len() || !ascends {
                let problem = "x is not in ascending order, or y has another length";
                return Err(CompileError::new(problem));
            }
        }
        let op = Calibrate(step.calibration.clone());
        self.each(&step.input, step.output.as_deref(), op)
    }

    /// Adds a step that makes as many numbers as it takes.
    fn each(
        &mut self,
        input: &str,
        output: Option<&str>,
        op: impl Op + 'static,
    ) -> Result<(), CompileError> {
        let sources = self.names.find_numbers(input)?;
        let names: Vec<Arc<str>> = sources.iter().map(|source| source.name.clone()).collect();
        let made = self.builder.push(op, sources, Kind::Number, names)?;
        self.define(output, input, made)
    }

    fn argmax(&mut self, step: &ArgmaxStep) -> Result<(), CompileError> {
        let scores = self.names.find_numbers(&step.input)?;
        let places = self.places(scores, 1, &step.labels)?;
        self.names.define_result(&step.output, &[], places)
    }

    fn top_k(&mut self, step: &TopKStep) -> Result<(), CompileError> {
        let scores = self.names.find_numbers(&step.input)?;
        if step.k == 0 || step.k > scores.len() {
            let (name, count) = (&step.input, scores.len());
            let problem = format!("k is {}, and \"{name}\" has {count} columns", step.k);
            return Err(CompileError::new(problem));
        }
        let kind = scores[0].kind;
        let name: Arc<str> = step.input.as_str().into();
        let names = std::iter::repeat_n(name, step.k);
        let count = step.k;
        let op = Places { count };
        let places = self
            .builder
            .push(op, scores.clone(), Kind::Integer, names.clone())?;
        let labels = self.labels(&places, &step.labels, scores.len())?;
        let inputs = places.into_iter().chain(scores).collect();
        let best = self.builder.push(AtPlaces { count }, inputs, kind, names)?;
        self.names.define_result(&step.output, &[], labels)?;
        let scores = format!("{}_scores", step.output);
        self.names.define_result(&scores, &[], best)
    }

    /// The places of the largest scores, or their labels.
    fn places(
        &mut self,
        scores: Vec<Source>,
        count: usize,
        labels: &[String],
    ) -> Result<Vec<Source>, CompileError> {
        let classes = scores.len();
        let names = std::iter::repeat_n(scores[0].name.clone(), count);
        let op = Places { count };
        let places = self.builder.push(op, scores, Kind::Integer, names)?;
        self.labels(&places, labels, classes)
    }

    /// Labels in place of classes, if there are any.
    fn labels(
        &mut self,
        places: &[Source],
        labels: &[String],
        classes: usize,
    ) -> Result<Vec<Source>, CompileError> {
        if labels.is_empty() {
            return Ok(places.to_vec());
        }
        if labels.len() != classes {
            let count = labels.len();
            let problem = format!("there are {count} labels for {classes} columns");
            return Err(CompileError::new(problem));
        }
        let mut made = Vec::with_capacity(places.len());
        for place in places {
            made.extend(self.label_one(place, labels)?);
        }
        Ok(made)
    }

    fn label(&mut self, step: &LabelStep) -> Result<(), CompileError> {
        let source = self.names.find_number(&step.input)?;
        if step.labels.is_empty() {
            return Err(CompileError::new("it has no labels"));
        }
        let made = self.label_one(&source, &step.labels)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    fn label_one(
        &mut self,
        place: &Source,
        labels: &[String],
    ) -> Result<Vec<Source>, CompileError> {
        let op = Label {
            labels: labels.to_vec(),
        };
        let name = [place.name.clone()];
        self.builder.push(op, vec![place.clone()], Kind::Text, name)
    }

    fn threshold(&mut self, step: &ThresholdStep) -> Result<(), CompileError> {
        let source = self.names.find_number(&step.input)?;
        let thresholds = step.rules.iter().map(|rule| rule.at_least);
        if !thresholds.is_sorted_by(|one, other| one > other) {
            let problem = "the rules are not in order, the highest threshold first";
            return Err(CompileError::new(problem));
        }
        let rules = step.rules.iter();
        let op = Threshold {
            rules: rules
                .map(|rule| (rule.at_least, rule.decision.clone()))
                .collect(),
            otherwise: step.otherwise.clone(),
        };
        let name = [source.name.clone()];
        let made = self.builder.push(op, vec![source], Kind::Text, name)?;
        self.names.define_result(&step.output, &[], made)
    }
}
