//! Instructions over registers: what a pipeline is once all names and widths are known.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{DataType, Dim, FieldType, Tensor};
use tidegate_expression::Type;

use crate::error::CompileError;
use crate::{Column, Reason, RowError, TextColumn};

/// The most columns that one step may make.
const MAX_STEP_COLUMNS: usize = 1 << 16;
/// The most columns of a whole pipeline.
const MAX_COLUMNS: usize = 1 << 18;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    /// Numbers of a model that has single precision. They are written with as many digits.
    Single,
    Integer,
    Boolean,
    Time,
    Text,
    Bytes,
    Tensor,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Number | Self::Single => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Tensor => "tensor",
        }
    }

    /// Whether arithmetic makes sense with it. Booleans are 0 and 1, as in NumPy.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self, Self::Time | Self::Text | Self::Bytes | Self::Tensor)
    }
}

impl Kind {
    /// The type of a field with such values. No field is a tensor.
    pub(crate) fn field_type(self) -> FieldType {
        match self {
            Self::Number | Self::Single | Self::Tensor => FieldType::Number,
            Self::Integer => FieldType::Integer,
            Self::Boolean => FieldType::Boolean,
            Self::Time => FieldType::Time,
            Self::Text => FieldType::String,
            Self::Bytes => FieldType::Bytes,
        }
    }

    /// What its values are in an expression.
    pub(crate) fn expression_type(self) -> Option<Type> {
        match self {
            Self::Number | Self::Single | Self::Integer => Some(Type::Number),
            Self::Boolean => Some(Type::Boolean),
            Self::Text => Some(Type::Text),
            Self::Time | Self::Bytes | Self::Tensor => None,
        }
    }
}

impl From<Type> for Kind {
    fn from(result: Type) -> Self {
        match result {
            Type::Number => Self::Number,
            Type::Boolean => Self::Boolean,
            Type::Text => Self::Text,
        }
    }
}

impl From<FieldType> for Kind {
    fn from(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Number => Self::Number,
            FieldType::Integer => Self::Integer,
            FieldType::String => Self::Text,
            FieldType::Boolean => Self::Boolean,
            FieldType::Time => Self::Time,
            FieldType::Bytes => Self::Bytes,
        }
    }
}

/// Where the values of a column are.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) register: usize,
    /// Its place among the columns of the register.
    pub(crate) column: usize,
    pub(crate) kind: Kind,
    /// The field that it was made of, for messages.
    pub(crate) name: Arc<str>,
    /// The text that stands in for a missing one.
    pub(crate) fill: Option<Arc<str>>,
    /// What each row of a tensor is; `None` for everything else.
    pub(crate) element: Option<Arc<Element>>,
}

impl Source {
    /// The first column of a register.
    pub(crate) fn new(register: usize, kind: Kind, name: Arc<str>) -> Self {
        Self {
            register,
            column: 0,
            kind,
            name,
            fill: None,
            element: None,
        }
    }
}

/// What a row of a tensor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) datatype: DataType,
    /// The extents behind that of the rows; `None` if not even their number is known.
    pub(crate) dims: Option<Vec<Dim>>,
    /// Set where a row is the samples of a sound.
    pub(crate) sound: Option<Sound>,
}

impl Element {
    /// A tensor of such rows, for people; -1 where only a request tells.
    pub(crate) fn describe(&self) -> String {
        let datatype = self.datatype;
        let Some(dims) = &self.dims else {
            return format!("tensor {datatype}");
        };
        let rows = std::iter::once(&Dim::Any);
        let shape: Vec<i64> = rows.chain(dims).map(Dim::to_wire).collect();
        format!("tensor {datatype} {shape:?}")
    }
}

/// What is known of sounds before there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Samples in a second, in Hz.
    pub(crate) sample_rate: u32,
    /// The most samples.
    pub(crate) max_samples: usize,
}

/// The memory that a step needs, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// What it makes of each row, at most.
    pub(crate) row: usize,
    /// What it needs while it runs, besides.
    pub(crate) scratch: usize,
    /// How many times it can write the texts of the request.
    pub(crate) copies: usize,
}

/// A step over whole columns. Kinds and numbers of its inputs were checked when it was made.
pub(crate) trait Op: Send + Sync + fmt::Debug {
    /// Makes the output, of as many rows as the inputs have.
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError>;

    /// What a run on these inputs takes, in bytes, where only their content tells.
    fn bytes(&self, _inputs: &Inputs<'_>) -> usize {
        0
    }
}

/// The inputs of a step in one run.
pub(crate) struct Inputs<'a> {
    registers: &'a [Column],
    sources: &'a [Source],
    rows: usize,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(registers: &'a [Column], sources: &'a [Source], rows: usize) -> Self {
        Self {
            registers,
            sources,
            rows,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of inputs.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(crate) fn source(&self, input: usize) -> &'a Source {
        &self.sources[input]
    }

    /// The numbers of an input.
    pub(crate) fn numbers(&self, input: usize) -> &'a [f64] {
        let source = self.source(input);
        match &self.registers[source.register] {
            Column::Numbers(numbers) => {
                &numbers[source.column * self.rows..(source.column + 1) * self.rows]
            }
            _ => unreachable!("kinds were checked when the pipeline was compiled"),
        }
    }

    /// The texts of an input.
    pub(crate) fn text(&self, input: usize) -> &'a TextColumn {
        match &self.registers[self.source(input).register] {
            Column::Text(text) => text,
            _ => unreachable!("kinds were checked when the pipeline was compiled"),
        }
    }

    /// The byte strings of an input.
    pub(crate) fn bytes(&self, input: usize) -> &'a [Option<Bytes>] {
        match &self.registers[self.source(input).register] {
            Column::Bytes(values) => values,
            _ => unreachable!("kinds were checked when the pipeline was compiled"),
        }
    }

    /// The tensor of an input.
    pub(crate) fn tensor(&self, input: usize) -> &'a Tensor {
        match &self.registers[self.source(input).register] {
            Column::Tensor(tensor) => tensor,
            _ => unreachable!("kinds were checked when the pipeline was compiled"),
        }
    }

    /// Makes a number of each number, with the place of its input.
    pub(crate) fn each(&self, function: impl Fn(usize, f64) -> f64) -> Column {
        let mut values = Vec::with_capacity(self.len() * self.rows);
        for input in 0..self.len() {
            let numbers = self.numbers(input).iter();
            values.extend(numbers.map(|number| function(input, *number)));
        }
        Column::Numbers(values)
    }

    /// A block of so many columns, all 0.
    pub(crate) fn block(&self, columns: usize) -> Vec<f64> {
        vec![0.0; columns * self.rows]
    }

    pub(crate) fn error(
        &self,
        input: usize,
        row: usize,
        reason: Reason,
        problem: impl Into<String>,
    ) -> RowError {
        RowError {
            row,
            field: self.source(input).name.clone(),
            reason,
            problem: problem.into(),
        }
    }
}

/// One step with its inputs and the register of its output.
#[derive(Debug)]
struct Instruction {
    op: Box<dyn Op>,
    sources: Vec<Source>,
    register: usize,
}

/// Steps in the order in which they run.
#[derive(Debug, Default)]
pub(crate) struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    /// Runs the steps; each writes its own register, which follows those before it.
    pub(crate) fn run(&self, registers: &mut Vec<Column>, rows: usize) -> Result<(), RowError> {
        registers.reserve(self.instructions.len());
        for instruction in &self.instructions {
            debug_assert_eq!(instruction.register, registers.len());
            let inputs = Inputs::new(registers, &instruction.sources, rows);
            let output = instruction.op.run(&inputs)?;
            registers.push(output);
        }
        Ok(())
    }
}

impl Program {
    /// What its steps take, in bytes, where only the content of the fields tells. `registers` has the
    /// fields alone.
    pub(crate) fn bytes(&self, registers: &[Column], rows: usize) -> usize {
        let is_field = |source: &Source| source.register < registers.len();
        let known = self.instructions.iter();
        let known = known.filter(|instruction| instruction.sources.iter().all(is_field));
        known.fold(0, |bytes: usize, instruction| {
            let inputs = Inputs::new(registers, &instruction.sources, rows);
            bytes.saturating_add(instruction.op.bytes(&inputs))
        })
    }
}

/// Builds a [`Program`], and gives registers to what steps make.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    program: Program,
    registers: usize,
    columns: usize,
    memory: Memory,
    /// The registers before those of its steps.
    given: usize,
    /// Whether the content of fields tells what a step takes.
    is_sized_by_content: bool,
}

impl Builder {
    /// A builder whose first registers are filled by others: fields or outputs of an engine.
    pub(crate) fn after(registers: usize) -> Self {
        Self {
            registers,
            columns: registers,
            given: registers,
            ..Self::default()
        }
    }

    /// Whether a register is filled by no step, but a field.
    pub(crate) fn is_given(&self, register: usize) -> bool {
        register < self.given
    }

    /// Says that the content of fields tells what a step takes.
    pub(crate) fn size_by_content(&mut self) {
        self.is_sized_by_content = true;
    }

    /// Whether the content of fields tells what a step takes.
    pub(crate) fn is_sized_by_content(&self) -> bool {
        self.is_sized_by_content
    }

    /// Columns that are made so far.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// What its steps make of each row besides columns, and the most that one of them needs while it
    /// runs.
    pub(crate) fn memory(&self) -> Memory {
        self.memory
    }

    /// Counts what a step needs besides columns.
    pub(crate) fn reserve_memory(&mut self, memory: Memory) {
        self.memory.row = self.memory.row.saturating_add(memory.row);
        self.memory.scratch = self.memory.scratch.max(memory.scratch);
        // A step can take the texts that another one has made.
        self.memory.copies = match self.memory.copies {
            0 => memory.copies,
            copies => copies.saturating_mul(memory.copies.max(1)),
        };
    }

    /// A register that something else than a step fills.
    pub(crate) fn reserve(&mut self, columns: usize) -> usize {
        self.registers += 1;
        self.columns += columns;
        self.registers - 1
    }

    /// Adds a step. `names` has the field that each column of its output is made of.
    pub(crate) fn push(
        &mut self,
        op: impl Op + 'static,
        sources: Vec<Source>,
        kind: Kind,
        names: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Vec<Source>, CompileError> {
        let register = self.registers;
        let source = |(column, name)| Source {
            column,
            ..Source::new(register, kind, name)
        };
        let names = names.into_iter().take(MAX_STEP_COLUMNS + 1);
        let made: Vec<Source> = names.enumerate().map(source).collect();
        self.columns += made.len();
        if made.len() > MAX_STEP_COLUMNS || self.columns > MAX_COLUMNS {
            let problem = format!(
                "it makes too many columns: a step may make {MAX_STEP_COLUMNS}, and all of them \
                 {MAX_COLUMNS}"
            );
            return Err(CompileError::new(problem));
        }
        self.add(op, sources);
        Ok(made)
    }

    /// Adds a step that makes a tensor. `name` is the field that it is made of.
    pub(crate) fn push_tensor(
        &mut self,
        op: impl Op + 'static,
        sources: Vec<Source>,
        element: Element,
        name: Arc<str>,
        memory: Memory,
    ) -> Source {
        self.reserve_memory(memory);
        self.columns += 1;
        let register = self.add(op, sources);
        Source {
            element: Some(Arc::new(element)),
            ..Source::new(register, Kind::Tensor, name)
        }
    }

    fn add(&mut self, op: impl Op + 'static, sources: Vec<Source>) -> usize {
        let register = self.registers;
        self.registers += 1;
        self.program.instructions.push(Instruction {
            op: Box::new(op),
            sources,
            register,
        });
        register
    }

    /// The steps so far; the registers stay taken.
    pub(crate) fn take_program(&mut self) -> Program {
        std::mem::take(&mut self.program)
    }
}
