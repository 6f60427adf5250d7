//! Requests in JSON, with the binary tensor data extension.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use jiter::{Jiter, JiterError, JiterErrorType, NumberAny, NumberInt, Peek};
use tidegate_core::{DataType, Shape, Tensor};
use tidegate_serving::{ErrorCode, InferError, RequestedOutput};

use super::elements::{self, Part};
use crate::parameters::{Parameters, Value};
use crate::shared_memory::{SharedInput, SharedPart};

/// Most inputs, and most outputs, that a request may list.
const MAX_TENSORS: usize = 256;

/// A request as the body has it.
#[derive(Debug, Default)]
pub(crate) struct DecodedRequest {
    /// The client's id for the request, which the answer repeats.
    pub(crate) id: Option<String>,
    pub(crate) inputs: Vec<(String, Tensor)>,
    pub(crate) outputs: Vec<RequestedOutput>,
    pub(crate) parameters: Parameters,
    /// For each requested output, whether it is wanted as binary data; `None` where the request
    /// does not say.
    pub(crate) binary: Vec<Option<bool>>,
    /// The inputs whose data is in shared memory. Their tensors are empty until it is read.
    pub(crate) shared_inputs: Vec<SharedInput>,
    /// For each requested output, where in shared memory it is wanted.
    pub(crate) shared_outputs: Vec<Option<SharedPart>>,
}

/// Reads a body whose first `header_bytes` are JSON and whose rest is binary tensor data.
pub(crate) fn decode_infer(
    body: &Bytes,
    header_bytes: usize,
) -> Result<DecodedRequest, InferError> {
    // Only the general reader knows where in the body a fault is.
    decode_by(body, header_bytes, true).or_else(|_| decode_by(body, header_bytes, false))
}

/// The JSON of a body and how far it was read.
struct Json<'j> {
    all: &'j [u8],
    rest: Jiter<'j>,
    /// The offset in `all` of the part that `rest` reads.
    base: usize,
    /// Whether the fast reader may read arrays of numbers.
    fast: bool,
}

impl<'j> Json<'j> {
    fn new(all: &'j [u8], fast: bool) -> Self {
        Self {
            all,
            // Python's `json` writes NaN and the infinities as bare words.
            rest: Jiter::new(all).with_allow_inf_nan(),
            base: 0,
            fast,
        }
    }

    /// Reads an array of numbers with the fast reader. `None`, and nothing read, if it cannot.
    fn numbers(&mut self, datatype: DataType, shape: &Shape) -> Option<Tensor> {
        if !self.fast {
            return None;
        }
        self.rest.peek().ok()?;
        let start = self.base + self.rest.current_index();
        let (tensor, len) = elements::read_fast(&self.all[start..], datatype, shape)?;
        self.base = start + len;
        self.rest = Jiter::new(&self.all[self.base..]).with_allow_inf_nan();
        Some(tensor)
    }
}

impl<'j> Deref for Json<'j> {
    type Target = Jiter<'j>;

    fn deref(&self) -> &Jiter<'j> {
        &self.rest
    }
}

impl DerefMut for Json<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rest
    }
}

/// Like [`decode_infer`]; `fast` says whether the fast reader of numbers may be used.
pub(crate) fn decode_by(
    body: &Bytes,
    header_bytes: usize,
    fast: bool,
) -> Result<DecodedRequest, InferError> {
    let mut json = Json::new(&body[..header_bytes], fast);
    let mut binary = BinarySection {
        rest: body.slice(header_bytes..),
    };
    let mut request = DecodedRequest::default();
    let mut has_inputs = false;
    let mut key = json
        .next_object()
        // A key borrows the reader; a `Key` can be kept while the value is read.
        .map(|key| key.map(Key::of))
        .map_err(|error| malformed(&json, &error))?;
    while let Some(field) = key {
        match field {
            Key::Id | Key::Parameters | Key::Outputs if null(&mut json)? => {}
            Key::Id => request.id = Some(text(&mut json, "id")?),
            Key::Parameters => request.parameters = parameters(&mut json)?,
            Key::Inputs => {
                (request.inputs, request.shared_inputs) = inputs(&mut json, &mut binary)?;
                // An empty list is allowed, since a model may need no input; a missing one is a
                // mistake.
                has_inputs = true;
            }
            Key::Outputs => outputs(&mut json, &mut request)?,
            // Other servers know more fields than this one, and their clients send them.
            _ => json.next_skip().map_err(|error| malformed(&json, &error))?,
        }
        key = json
            .next_key()
            .map(|key| key.map(Key::of))
            .map_err(|error| malformed(&json, &error))?;
    }
    json.rest
        .finish()
        .map_err(|error| malformed(&json, &error))?;
    if !has_inputs {
        return Err(InferError::new(
            ErrorCode::MalformedRequest,
            "the request has no \"inputs\"",
        ));
    }
    // A client that miscounts its inputs would otherwise get answers for other data.
    if !binary.rest.is_empty() {
        let message = format!(
            "{} bytes of binary data belong to no input",
            binary.rest.len()
        );
        return Err(InferError::new(ErrorCode::InvalidBinary, message));
    }
    Ok(request)
}

/// The keys of a request, at every level.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Id,
    Parameters,
    Inputs,
    Outputs,
    Name,
    Shape,
    Datatype,
    Data,
    Instances,
    Other,
}

impl Key {
    pub(super) fn of(key: &str) -> Self {
        match key {
            "id" => Self::Id,
            "parameters" => Self::Parameters,
            "inputs" => Self::Inputs,
            "outputs" => Self::Outputs,
            "name" => Self::Name,
            "shape" => Self::Shape,
            "datatype" => Self::Datatype,
            "data" => Self::Data,
            "instances" => Self::Instances,
            _ => Self::Other,
        }
    }
}

/// A JSON error with its position; a wrong type of a known field is a request of another form.
pub(super) fn malformed(json: &Jiter<'_>, error: &JiterError) -> InferError {
    let code = match error.error_type {
        JiterErrorType::JsonError(_) => ErrorCode::MalformedJson,
        JiterErrorType::WrongType { .. } => ErrorCode::MalformedRequest,
    };
    InferError::new(
        code,
        format!("the body cannot be read: {}", error.description(json)),
    )
}

fn text(json: &mut Jiter<'_>, field: &str) -> Result<String, InferError> {
    match json.next_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(match error.error_type {
            JiterErrorType::JsonError(_) => malformed(json, &error),
            JiterErrorType::WrongType { .. } => InferError::new(
                ErrorCode::MalformedRequest,
                format!("\"{field}\" must be a string: {}", error.description(json)),
            ),
        }),
    }
}

/// The elements of an array of objects; `one` reads an object whose first key is given.
fn objects<'j, T>(
    json: &mut Json<'j>,
    what: &str,
    mut one: impl FnMut(&mut Json<'j>, Option<Key>) -> Result<T, InferError>,
) -> Result<Vec<T>, InferError> {
    let mut items = Vec::new();
    let mut next = json.next_array().map_err(|error| malformed(json, &error))?;
    while next.is_some() {
        if items.len() >= MAX_TENSORS {
            let message = format!("the request lists more than {MAX_TENSORS} {what}");
            return Err(InferError::new(ErrorCode::TooManyInputs, message));
        }
        let key = json
            .next_object()
            .map(|key| key.map(Key::of))
            .map_err(|error| malformed(json, &error))?;
        items.push(one(json, key)?);
        next = json.array_step().map_err(|error| malformed(json, &error))?;
    }
    Ok(items)
}

/// The inputs, and those of them whose data is in shared memory.
type Inputs = (Vec<(String, Tensor)>, Vec<SharedInput>);

fn inputs(json: &mut Json<'_>, binary: &mut BinarySection) -> Result<Inputs, InferError> {
    let (mut shared, mut position) = (Vec::new(), 0);
    let inputs = objects(json, "inputs", |json, first| {
        let input = Input::read(json, first)?;
        let part = SharedPart::of(&input.parameters)?;
        position += 1;
        match part {
            None => input.into_tensor(binary),
            Some(part) => {
                let (name, input) = input.into_shared(position - 1, part)?;
                shared.push(input);
                Ok((name, SharedInput::placeholder()?))
            }
        }
    })?;
    Ok((inputs, shared))
}

/// An input whose data may have come before its type was known.
#[derive(Default)]
struct Input<'j> {
    name: Option<String>,
    shape: Option<Shape>,
    datatype: Option<DataType>,
    parameters: Parameters,
    tensor: Option<Tensor>,
    /// JSON data that came before the shape or the datatype, and its place in the body.
    unread: Option<(&'j [u8], Part<'j>)>,
}

impl<'j> Input<'j> {
    fn read(json: &mut Json<'j>, mut key: Option<Key>) -> Result<Self, InferError> {
        let mut input = Self::default();
        while let Some(field) = key {
            match field {
                Key::Name => input.name = Some(text(json, "name")?),
                Key::Shape => input.shape = Some(shape(json, input.label())?),
                Key::Datatype => {
                    let name = text(json, "datatype")?;
                    input.datatype = Some(name.parse().map_err(
                        |error: tidegate_core::UnknownDataType| {
                            InferError::new(
                                ErrorCode::UnknownDatatype,
                                format!("input \"{}\": {error}", input.label()),
                            )
                        },
                    )?);
                }
                Key::Parameters | Key::Data if null(json)? => {}
                Key::Parameters => input.parameters = parameters(json)?,
                Key::Data => input.data(json)?,
                _ => json.next_skip().map_err(|error| malformed(json, &error))?,
            }
            key = json
                .next_key()
                .map(|key| key.map(Key::of))
                .map_err(|error| malformed(json, &error))?;
        }
        Ok(input)
    }

    fn label(&self) -> &str {
        // The name may come after the field that is wrong.
        self.name.as_deref().unwrap_or("?")
    }

    fn data(&mut self, json: &mut Json<'j>) -> Result<(), InferError> {
        if let (Some(name), Some(datatype), Some(shape)) = (&self.name, self.datatype, &self.shape)
        {
            self.tensor = Some(match json.numbers(datatype, shape) {
                Some(tensor) => tensor,
                None => {
                    let part = Part::new(json.all, json.base);
                    elements::read(json, part, name, datatype, shape)?
                }
            });
            return Ok(());
        }
        json.peek().map_err(|error| malformed(json, &error))?;
        // The fields of an object come in any order: this data is read when its shape is known.
        let start = json.current_index();
        json.next_skip().map_err(|error| malformed(json, &error))?;
        let part = Part::new(json.all, json.base + start);
        self.unread = Some((json.slice_to_current(start), part));
        Ok(())
    }

    /// The input as one of shared memory, which has no data of its own.
    fn into_shared(
        self,
        position: usize,
        part: SharedPart,
    ) -> Result<(String, SharedInput), InferError> {
        let name = self.name.ok_or_else(no_name)?;
        let datatype = self.datatype.ok_or_else(|| lacks(&name, "datatype"))?;
        let shape = self.shape.ok_or_else(|| lacks(&name, "shape"))?;
        if self.tensor.is_some() || self.unread.is_some() {
            let message = format!("input \"{name}\" has both \"data\" and shared memory");
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        }
        let input = SharedInput {
            position,
            datatype,
            shape,
            part,
        };
        Ok((name, input))
    }

    fn into_tensor(self, binary: &mut BinarySection) -> Result<(String, Tensor), InferError> {
        let name = self.name.ok_or_else(no_name)?;
        let datatype = self.datatype.ok_or_else(|| lacks(&name, "datatype"))?;
        let shape = self.shape.ok_or_else(|| lacks(&name, "shape"))?;
        let binary_bytes = self.parameters.size("binary_data_size")?;
        let has_data = self.tensor.is_some() || self.unread.is_some();
        let tensor = match (binary_bytes, has_data) {
            (Some(_), true) => {
                let message = format!("input \"{name}\" has both \"data\" and binary data");
                return Err(InferError::new(ErrorCode::MalformedRequest, message));
            }
            (Some(bytes), false) => {
                let bytes = binary.take(&name, bytes)?;
                Tensor::from_wire(datatype, shape, bytes).map_err(|error| {
                    InferError::new(
                        ErrorCode::from(&error),
                        format!("input \"{name}\": {error}"),
                    )
                })?
            }
            (None, true) => match (self.tensor, self.unread) {
                (Some(tensor), _) => tensor,
                (None, Some((unread, part))) => {
                    let mut json = Jiter::new(unread).with_allow_inf_nan();
                    elements::read(&mut json, part, &name, datatype, &shape)?
                }
                (None, None) => return Err(lacks(&name, "data")),
            },
            (None, false) => return Err(lacks(&name, "data")),
        };
        Ok((name, tensor))
    }
}

fn no_name() -> InferError {
    InferError::new(ErrorCode::MalformedRequest, "an input has no \"name\"")
}

fn lacks(input: &str, field: &str) -> InferError {
    InferError::new(
        ErrorCode::MalformedRequest,
        format!("input \"{input}\" has no \"{field}\""),
    )
}

fn wrong_shape(input: &str, error: tidegate_core::ShapeError) -> InferError {
    let error = tidegate_core::TensorError::Shape(error);
    InferError::new(
        ErrorCode::from(&error),
        format!("input \"{input}\": {error}"),
    )
}

fn shape(json: &mut Jiter<'_>, input: &str) -> Result<Shape, InferError> {
    let mut extents = Vec::new();
    let mut next = json.next_array().map_err(|error| malformed(json, &error))?;
    while let Some(peek) = next {
        // At once: a body has space for millions of extents.
        if extents.len() > Shape::MAX_RANK {
            let rank = extents.len();
            return Err(wrong_shape(input, tidegate_core::ShapeError::Rank { rank }));
        }
        let at = json.current_index();
        let extent = json
            // As digits: through a float, large extents would be rounded instead of refused.
            .known_number_bytes(peek)
            .map(|digits| std::str::from_utf8(digits).ok()?.parse::<i64>().ok())
            .map_err(|error| malformed(json, &error))?;
        extents.push(extent.ok_or_else(|| {
            let position = json.error_position(at);
            let message = format!(
                "input \"{input}\" has an extent that is not a 64-bit integer at {position}"
            );
            InferError::new(ErrorCode::ShapeOverflow, message)
        })?);
        next = json.array_step().map_err(|error| malformed(json, &error))?;
    }
    Shape::from_wire(&extents).map_err(|error| wrong_shape(input, error))
}

/// Reads the outputs asked for and, for each, in which form they are wanted.
fn outputs(json: &mut Json<'_>, request: &mut DecodedRequest) -> Result<(), InferError> {
    let listed = objects(json, "outputs", |json, mut key| {
        let mut name = None;
        let mut settings = Parameters::default();
        while let Some(field) = key {
            match field {
                Key::Name => name = Some(text(json, "name")?),
                Key::Parameters if null(json)? => {}
                Key::Parameters => settings = parameters(json)?,
                _ => json.next_skip().map_err(|error| malformed(json, &error))?,
            }
            key = json
                .next_key()
                .map(|key| key.map(Key::of))
                .map_err(|error| malformed(json, &error))?;
        }
        let name = name.ok_or_else(|| {
            InferError::new(ErrorCode::MalformedRequest, "an output has no \"name\"")
        })?;
        let classes = settings.size("classification")?.unwrap_or(0);
        let binary = settings.flag("binary_data")?;
        let shared = SharedPart::of(&settings)?;
        Ok((RequestedOutput { name, classes }, binary, shared))
    })?;
    // Of two lists the last counts.
    request.outputs.clear();
    request.binary.clear();
    request.shared_outputs.clear();
    for (output, binary, shared) in listed {
        request.outputs.push(output);
        request.binary.push(binary);
        request.shared_outputs.push(shared);
    }
    Ok(())
}

/// Takes a `null`, which some clients write for an optional field that they leave out.
fn null(json: &mut Jiter<'_>) -> Result<bool, InferError> {
    let found = json.peek().map_err(|error| malformed(json, &error))? == Peek::Null;
    if found {
        json.known_null().map_err(|error| malformed(json, &error))?;
    }
    Ok(found)
}

/// An object of named bools, numbers and strings; parameters that the server does not use may have
/// any value. Values are read one by one: a tree of whatever the client sends would take many times
/// the memory of the body.
fn parameters(json: &mut Jiter<'_>) -> Result<Parameters, InferError> {
    if json.peek().map_err(|error| malformed(json, &error))? != Peek::Object {
        return Err(InferError::new(
            ErrorCode::InvalidParameter,
            "\"parameters\" must be an object",
        ));
    }
    let mut parameters = Parameters::default();
    let mut key = json
        .known_object()
        .map(|key| key.map(str::to_owned))
        .map_err(|error| malformed(json, &error))?;
    while let Some(name) = key {
        let value = if Parameters::is_known(&name) {
            parameter(json, &name)?
        } else {
            json.next_skip().map_err(|error| malformed(json, &error))?;
            None
        };
        parameters.insert(&name, value)?;
        key = json
            .next_key()
            .map(|key| key.map(str::to_owned))
            .map_err(|error| malformed(json, &error))?;
    }
    Ok(parameters)
}

/// The value of a known parameter; `None` for `null`.
fn parameter(json: &mut Jiter<'_>, name: &str) -> Result<Option<Value>, InferError> {
    let peek = json.peek().map_err(|error| malformed(json, &error))?;
    let value = match peek {
        Peek::Null => {
            return json
                .known_null()
                .map(|()| None)
                .map_err(|error| malformed(json, &error));
        }
        Peek::True | Peek::False => json.known_bool(peek).map(Value::Bool),
        Peek::String => json.known_str().map(|text| Value::Text(text.to_owned())),
        // Through a float, one id would be taken for another.
        peek if peek.is_num() && name == "sequence_id" => {
            json.known_number_bytes(peek).map(whole_number)
        }
        peek if peek.is_num() => json.known_number(peek).map(|number| match number {
            NumberAny::Int(NumberInt::Int(number)) => Value::Int(number),
            NumberAny::Float(number) => Value::Float(number),
        }),
        _ => {
            let message = format!("parameter \"{name}\" must be a bool, a number or a string");
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
    };
    value.map(Some).map_err(|error| malformed(json, &error))
}

/// A number without loss; one that is not whole, or too large, as a float.
fn whole_number(digits: &[u8]) -> Value {
    let text = String::from_utf8_lossy(digits);
    match (text.parse(), text.parse()) {
        (Ok(number), _) => Value::Int(number),
        (_, Ok(number)) => Value::Large(number),
        _ => text.parse().map_or(Value::Float(f64::NAN), Value::Float),
    }
}

/// The binary data after the JSON. Inputs take their parts in order.
struct BinarySection {
    rest: Bytes,
}

impl BinarySection {
    fn take(&mut self, input: &str, bytes: usize) -> Result<Bytes, InferError> {
        if bytes > self.rest.len() {
            let message = format!(
                "input \"{input}\" takes {bytes} bytes of binary data, the body has {} left",
                self.rest.len()
            );
            return Err(InferError::new(ErrorCode::InvalidBinary, message));
        }
        Ok(self.rest.split_to(bytes))
    }
}
