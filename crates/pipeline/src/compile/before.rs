//! Steps from the fields of a request to columns.

use std::sync::Arc;

use chrono::FixedOffset;
use tidegate_core::{
    BucketizeStep, CastStep, Category, ClipStep, CrossStep, CyclicalStep, DatePartsStep,
    ExpressionStep, FieldType, FittedStep, FunctionStep, HashStep, ImputeStep, OneHotStep,
    OrdinalStep, RatioStep, ScaleStep, UnknownCategory,
};

use tidegate_expression::{Expression, Type};

use super::{Compiler, examples, lower};
use crate::error::{CompileError, listed};
use crate::node::{AffineNode, EncodeNode, ImputeNode, Node, OneHotNode, UnknownNode, UnknownWord};
use crate::ops::{Bins, Cross, Cyclical, DateParts, Evaluate, Ratio, ToNumber, ToText};
use crate::program::{Kind, Memory, Source};
use crate::state::Transformer;

impl<'a> Compiler<'a> {
    pub(super) fn fitted(&mut self, step: &FittedStep) -> Result<(), CompileError> {
        let (name, transformer) = self.transformer(step.transformer.as_deref())?;
        let place = format!("transformer \"{name}\"");
        let made = self
            .run_transformer(transformer)
            .map_err(|error| error.at(&place))?;
        self.names.define_result(&step.output, &[], made)
    }

    fn transformer(&self, name: Option<&str>) -> Result<(String, &'a Transformer), CompileError> {
        let transformers = &self.state.transformers;
        let found = match name {
            Some(name) => transformers.get_key_value(name),
            None if transformers.len() == 1 => transformers.first_key_value(),
            None => None,
        };
        found
            .map(|(name, transformer)| (name.clone(), transformer))
            .ok_or_else(|| {
                let known = listed(transformers.keys().map(String::as_str));
                let wanted = name.map_or("name one of them".to_owned(), |name| {
                    format!("there is no \"{name}\"")
                });
                let problem = format!("the state file has the transformers {known}: {wanted}");
                CompileError::new(problem)
            })
    }

    fn run_transformer(&mut self, transformer: &Transformer) -> Result<Vec<Source>, CompileError> {
        let mut sources = Vec::with_capacity(transformer.inputs.len());
        for input in &transformer.inputs {
            let source = self.names.find_one(&input.name)?;
            let wanted = Kind::from(input.field_type);
            // Numbers of one kind are numbers of the other: booleans are 0 and 1.
            let fits = source.kind == wanted || (source.kind.is_number() && wanted.is_number());
            if !fits {
                let (name, found, wanted) = (&input.name, source.kind.name(), wanted.name());
                let problem = format!("\"{name}\" is of type {found}, it was fitted with {wanted}");
                return Err(CompileError::new(problem));
            }
            sources.push(source);
        }
        examples::check(transformer)?;
        let made = lower::node(&mut self.builder, &transformer.node, sources)?;
        let (found, wanted) = (made.len(), transformer.outputs.len());
        if found != wanted {
            let problem = format!("it makes {found} columns and says that they are {wanted}");
            return Err(CompileError::new(problem));
        }
        Ok(made)
    }

    pub(super) fn cast(&mut self, step: &CastStep) -> Result<(), CompileError> {
        let source = self.names.find_one(&step.input)?;
        let name = [source.name.clone()];
        let to = Kind::from(step.to);
        let made = match (source.kind, step.to) {
            (from, _) if from == to => vec![source],
            (Kind::Time | Kind::Bytes | Kind::Tensor, _)
            | (_, FieldType::Time | FieldType::Bytes) => {
                let (from, to) = (source.kind.name(), step.to.name());
                let problem = format!("a column of type {from} cannot become {to}");
                return Err(CompileError::new(problem));
            }
            (_, FieldType::String) => self.builder.push(ToText, vec![source], to, name)?,
            _ => self.builder.push(ToNumber { to }, vec![source], to, name)?,
        };
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn impute(&mut self, step: &ImputeStep) -> Result<(), CompileError> {
        let source = self.names.find_one(&step.input)?;
        let node = Node::Impute(ImputeNode {
            missing: None,
            values: vec![Some(step.value.clone())],
            indicators: step.indicator.iter().map(|_| 0).collect(),
        });
        let mut made = lower::node(&mut self.builder, &node, vec![source])?;
        if let (Some(indicator), Some(column)) = (&step.indicator, made.get(1)) {
            let column = column.clone();
            self.names.define_result(indicator, &[], vec![column])?;
        }
        made.truncate(1);
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn scale(&mut self, step: &ScaleStep) -> Result<(), CompileError> {
        let sources = self.names.find_numbers(&step.input)?;
        if step.divide == 0.0 {
            return Err(CompileError::new("it divides by 0"));
        }
        let node = Node::Affine(AffineNode {
            subtract: Some(vec![step.subtract; sources.len()]),
            divide: Some(vec![step.divide; sources.len()]),
            ..AffineNode::default()
        });
        let made = lower::node(&mut self.builder, &node, sources)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn clip(&mut self, step: &ClipStep) -> Result<(), CompileError> {
        let sources = self.names.find_numbers(&step.input)?;
        let low = step.min.unwrap_or(f64::NEG_INFINITY);
        let high = step.max.unwrap_or(f64::INFINITY);
        if low > high {
            let problem = format!("its range from {low} to {high} is empty");
            return Err(CompileError::new(problem));
        }
        let node = Node::Affine(AffineNode {
            clip: Some((low, high)),
            ..AffineNode::default()
        });
        let made = lower::node(&mut self.builder, &node, sources)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn function(&mut self, step: &FunctionStep) -> Result<(), CompileError> {
        let sources = self.names.find_numbers(&step.input)?;
        let node = Node::Function {
            name: step.function,
        };
        let made = lower::node(&mut self.builder, &node, sources)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn bucketize(&mut self, step: &BucketizeStep) -> Result<(), CompileError> {
        let source = self.names.find_number(&step.input)?;
        lower::check_edges(&step.edges)?;
        let name = [source.name.clone()];
        let op = Bins {
            edges: vec![step.edges.clone()],
            keeps_missing: true,
        };
        let made = self.builder.push(op, vec![source], Kind::Number, name)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn one_hot(&mut self, step: &OneHotStep) -> Result<(), CompileError> {
        let source = self.names.find_one(&step.input)?;
        let count = u32::try_from(step.categories.len()).unwrap_or(u32::MAX);
        let (unknown, extra) = match step.unknown {
            UnknownCategory::Reject => (UnknownNode::Word(UnknownWord::Reject), 0),
            UnknownCategory::Zeros => (UnknownNode::Word(UnknownWord::Zeros), 0),
            UnknownCategory::Other => (UnknownNode::Slot(count), 1),
        };
        let node = Node::OneHot {
            columns: vec![OneHotNode {
                categories: listed_categories(&step.categories),
                slots: (0..count).map(Some).collect(),
                width: step.categories.len() + extra,
                unknown,
            }],
        };
        let made = lower::node(&mut self.builder, &node, vec![source])?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn ordinal(&mut self, step: &OrdinalStep) -> Result<(), CompileError> {
        let source = self.names.find_one(&step.input)?;
        let places = 0..step.categories.len();
        let node = Node::Encode {
            columns: vec![EncodeNode {
                categories: listed_categories(&step.categories),
                numbers: places.map(|place| vec![Some(place as f64)]).collect(),
                unknown: step.unknown.map(|number| vec![Some(number)]),
                width: 1,
            }],
        };
        let made = lower::node(&mut self.builder, &node, vec![source])?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn hash(&mut self, step: &HashStep) -> Result<(), CompileError> {
        let mut sources = Vec::with_capacity(step.inputs.len());
        for input in &step.inputs {
            let mut source = self.names.find_one(input)?;
            // The name is a part of what is hashed: that of the column, not of the field behind it.
            source.name = input.as_str().into();
            sources.push(source);
        }
        let node = Node::Hash {
            buckets: step.buckets,
            alternate_sign: step.alternate_sign,
        };
        let made = lower::node(&mut self.builder, &node, sources)?;
        self.names.define_result(&step.output, &[], made)
    }

    pub(super) fn date_parts(&mut self, step: &DatePartsStep) -> Result<(), CompileError> {
        let source = self.names.find_kind(&step.input, Kind::Time)?;
        let seconds = step.utc_offset_minutes.checked_mul(60);
        let offset = seconds
            .and_then(FixedOffset::east_opt)
            .ok_or_else(|| CompileError::new("utc_offset_minutes is not between -1440 and 1440"))?;
        let op = DateParts {
            parts: step.parts.clone(),
            offset,
        };
        let names = std::iter::repeat_n(source.name.clone(), step.parts.len());
        let made = self.builder.push(op, vec![source], Kind::Number, names)?;
        for (part, column) in step.parts.iter().zip(made) {
            let name = format!("{}_{}", step.input, part.name());
            self.names.define_result(&name, &[], vec![column])?;
        }
        Ok(())
    }

    pub(super) fn cyclical(&mut self, step: &CyclicalStep) -> Result<(), CompileError> {
        let source = self.names.find_number(&step.input)?;
        if !(step.period > 0.0 && step.period.is_finite()) {
            return Err(CompileError::new("its period is not a number above 0"));
        }
        let names = [source.name.clone(), source.name.clone()];
        let op = Cyclical {
            period: step.period,
        };
        let made = self.builder.push(op, vec![source], Kind::Number, names)?;
        for (part, column) in ["sin", "cos"].into_iter().zip(made) {
            let name = format!("{}_{part}", step.input);
            self.names.define_result(&name, &[], vec![column])?;
        }
        Ok(())
    }

    pub(super) fn ratio(&mut self, step: &RatioStep) -> Result<(), CompileError> {
        let numerator = self.names.find_number(&step.numerator)?;
        let denominator = self.names.find_number(&step.denominator)?;
        let name: Arc<str> = step.output.as_str().into();
        let op = Ratio {
            on_zero: step.on_zero.unwrap_or(f64::NAN),
        };
        let sources = vec![numerator, denominator];
        let made = self.builder.push(op, sources, Kind::Number, [name])?;
        let inputs = [step.numerator.as_str(), step.denominator.as_str()];
        self.names.define_result(&step.output, &inputs, made)
    }

    pub(super) fn expression(&mut self, step: &ExpressionStep) -> Result<(), CompileError> {
        let names = &self.names;
        let parsed = Expression::parse(&step.expression, |name| names.expression_type(name));
        let place = format!("expression \"{}\"", step.expression);
        let expression = parsed.map_err(|error| CompileError::new(error.to_string()).at(&place))?;
        let mut sources = Vec::with_capacity(expression.variables().len());
        for variable in expression.variables() {
            sources.push(self.names.find_one(variable)?);
        }
        let inputs: Vec<&str> = expression.variables().iter().map(String::as_str).collect();
        let takes_text = sources.iter().any(|source| source.kind == Kind::Text);
        let memory = if takes_text || expression.result() == Type::Text {
            text_memory(&step.expression)?
        } else {
            // In place of the time that it takes: long ones on many rows do not run inline.
            Memory {
                row: step.expression.len(),
                ..Memory::default()
            }
        };
        self.builder.reserve_memory(memory);
        let (kind, name) = (Kind::from(expression.result()), step.output.as_str().into());
        let op = Evaluate {
            expression: expression.clone(),
            name: step.output.as_str().into(),
        };
        let made = self.builder.push(op, sources, kind, [name])?;
        self.names.define_result(&step.output, &inputs, made)
    }

    pub(super) fn cross(&mut self, step: &CrossStep) -> Result<(), CompileError> {
        let mut sources = Vec::with_capacity(step.inputs.len());
        for input in &step.inputs {
            sources.push(self.names.find_kind(input, Kind::Text)?);
        }
        let name: Arc<str> = step.output.as_str().into();
        let op = Cross {
            separator: step.separator.clone(),
        };
        let memory = Memory {
            row: step.separator.len() * step.inputs.len(),
            copies: step.inputs.len(),
            ..Memory::default()
        };
        self.builder.reserve_memory(memory);
        let made = self.builder.push(op, sources, Kind::Text, [name])?;
        let inputs: Vec<&str> = step.inputs.iter().map(String::as_str).collect();
        self.names.define_result(&step.output, &inputs, made)
    }

    /// Names the result of a step with one input, which it replaces by default.
    pub(super) fn define(
        &mut self,
        output: Option<&str>,
        input: &str,
        made: Vec<Source>,
    ) -> Result<(), CompileError> {
        self.names
            .define_result(output.unwrap_or(input), &[input], made)
    }
}

/// What an expression makes of the texts that it takes: only `+` makes one longer.
fn text_memory(expression: &str) -> Result<Memory, CompileError> {
    const MAX_COPIES: usize = 17;
    /// The longest number as text.
    const NUMBER_BYTES: usize = 330;
    let copies = expression.matches('+').count() + 1;
    if copies > MAX_COPIES {
        let most = MAX_COPIES - 1;
        let problem = format!("an expression that makes text may have {most} plus signs");
        return Err(CompileError::new(problem));
    }
    let numbers = expression.matches("string").count() * NUMBER_BYTES;
    Ok(Memory {
        row: expression.len() + numbers,
        copies,
        ..Memory::default()
    })
}

fn listed_categories(categories: &[Category]) -> Vec<Option<Category>> {
    categories.iter().cloned().map(Some).collect()
}
