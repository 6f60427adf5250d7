//! Steps on texts and on vectors of tokens.

use std::sync::Arc;

use tidegate_core::{
    DataType, Dim, NormalizeStep, PoolStep, TokenDatatype, TokenPadding, TokenTruncation,
    TokenizeStep,
};
use tidegate_text::{MAX_TEXT_BYTES, Padding, Tokenizer, TokenizerOptions, Truncation};

use super::{Compiler, file};
use crate::error::CompileError;
use crate::ops::{Normalize, Pool, TokenPart, Tokenize, tokenizing_bytes};
use crate::program::{Element, Kind, Memory, Source};

/// About what tokenizing a few sentences takes besides its result. It also takes too long for the
/// threads that serve connections, and so much memory keeps it off them.
const SCRATCH_BYTES: usize = 128 << 10;
/// What a token takes while it is made, besides its place in the result, in bytes.
const WORKING_BYTES: usize = 16;

impl Compiler<'_> {
    pub(super) fn tokenize(&mut self, step: &TokenizeStep) -> Result<(), CompileError> {
        let mut texts = vec![self.names.find_kind(&step.input, Kind::Text)?];
        if let Some(pair) = &step.pair {
            texts.push(self.names.find_kind(pair, Kind::Text)?);
        }
        let json = file(self.files, &step.file)?;
        let tokenizer = Tokenizer::parse(json, options(step))
            .map_err(|error| CompileError::new(error.to_string()).at(&step.file))?;
        let (datatype, bytes) = match step.datatype {
            TokenDatatype::Int64 => (DataType::Int64, size_of::<i64>()),
            TokenDatatype::Int32 => (DataType::Int32, size_of::<i32>()),
        };
        let length = tokenizer.fixed_length().map_or(Dim::Any, Dim::Fixed);
        let element = Element {
            datatype,
            dims: Some(vec![length]),
            sound: None,
        };
        // Of a field it is known once it is read, of what a step makes only what it is at most.
        let are_fields = texts
            .iter()
            .all(|text| self.builder.is_given(text.register));
        let working = if are_fields {
            self.builder.size_by_content();
            SCRATCH_BYTES
        } else {
            tokenizing_bytes(MAX_TEXT_BYTES)
        };
        let memory = Memory {
            // Tokens of rows of their own lengths, then of one length, then of the model's type.
            row: TokenPart::ALL.len() * step.max_length * (WORKING_BYTES + bytes),
            scratch: working,
            ..Memory::default()
        };
        let op = Tokenize {
            tokenizer,
            datatype,
        };
        let name = texts[0].name.clone();
        let all = self
            .builder
            .push_tensor(op, texts, element.clone(), name, memory);
        for part in TokenPart::ALL {
            self.token_part(step, part, &all, element.clone())?;
        }
        Ok(())
    }

    fn token_part(
        &mut self,
        step: &TokenizeStep,
        part: TokenPart,
        all: &Source,
        element: Element,
    ) -> Result<(), CompileError> {
        let name = match part {
            TokenPart::Ids => &step.input_ids,
            TokenPart::Mask => &step.attention_mask,
            TokenPart::Types => &step.token_type_ids,
        };
        // A view of what there is.
        let memory = Memory::default();
        let made = self.builder.push_tensor(
            part,
            vec![all.clone()],
            element,
            name.as_str().into(),
            memory,
        );
        match part {
            TokenPart::Ids => self.names.define_result(name, &[], vec![made]),
            // Many models take fewer of these.
            TokenPart::Mask | TokenPart::Types => self.names.define_extra(name, vec![made]),
        }
    }

    pub(super) fn pool(&mut self, step: &PoolStep) -> Result<(), CompileError> {
        let vectors = self.names.find_kind(&step.input, Kind::Tensor)?;
        let width = vector_width(&step.input, &vectors)?;
        let mask = self.names.find_kind(&step.mask, Kind::Tensor)?;
        let is_mask = mask.element.as_deref().is_some_and(|element| {
            matches!(element.datatype, DataType::Int64 | DataType::Int32)
                && element.dims.as_ref().is_some_and(|dims| dims.len() == 1)
        });
        if !is_mask {
            let problem = format!("\"{}\" is no mask that `tokenize` makes", step.mask);
            return Err(CompileError::new(problem));
        }
        let op = Pool {
            mode: step.mode,
            width,
        };
        let name: Arc<str> = step.output.as_deref().unwrap_or(&step.input).into();
        let names = std::iter::repeat_n(name, width);
        let made = self
            .builder
            .push(op, vec![vectors, mask], Kind::Single, names)?;
        self.define(step.output.as_deref(), &step.input, made)
    }

    pub(super) fn normalize(&mut self, step: &NormalizeStep) -> Result<(), CompileError> {
        let sources = self.names.find_numbers(&step.input)?;
        let is_single = sources.iter().all(|source| source.kind == Kind::Single);
        let kind = if is_single {
            Kind::Single
        } else {
            Kind::Number
        };
        let names: Vec<Arc<str>> = sources.iter().map(|source| source.name.clone()).collect();
        let made = self.builder.push(Normalize, sources, kind, names)?;
        self.define(step.output.as_deref(), &step.input, made)
    }
}

fn options(step: &TokenizeStep) -> TokenizerOptions {
    TokenizerOptions {
        max_length: step.max_length,
        truncation: match step.truncation {
            TokenTruncation::LongestFirst => Truncation::LongestFirst,
            TokenTruncation::OnlyFirst => Truncation::OnlyFirst,
            TokenTruncation::OnlySecond => Truncation::OnlySecond,
            TokenTruncation::Reject => Truncation::Reject,
        },
        padding: match step.padding {
            TokenPadding::Longest => Padding::Longest,
            TokenPadding::Fixed => Padding::Fixed,
        },
        pad_to_multiple_of: step.pad_to_multiple_of,
        pad_token: step.pad_token.clone(),
        special_tokens: step.special_tokens,
        pairs: step.pair.is_some(),
    }
}

/// How many numbers the vector of each token has.
fn vector_width(name: &str, source: &Source) -> Result<usize, CompileError> {
    let element = source.element.as_deref();
    let is_float = element.is_some_and(|element| {
        matches!(
            element.datatype,
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
        )
    });
    match element.and_then(|element| element.dims.as_deref()) {
        Some([_, Dim::Fixed(width)]) if is_float && *width > 0 => Ok(*width),
        Some([_, Dim::Any]) | None if is_float => Err(CompileError::new(format!(
            "the model does not say how many numbers the vectors of \"{name}\" have; declare its \
             shape in [[signature.outputs]]"
        ))),
        _ => Err(CompileError::new(format!(
            "\"{name}\" has no vector for each token: its shape must be [rows, tokens, numbers]"
        ))),
    }
}
