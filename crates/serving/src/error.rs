//! The table of all errors of requests. `docs/reference/errors.md` is made from it.

use std::borrow::Cow;

use thiserror::Error;
use tidegate_core::{ShapeError, SignatureError, TensorError, UnknownDataType};
use tidegate_engines::{RunError, UpstreamFailure};
use tidegate_gateway::{Denied, Limited, LimitedBy};
use tidegate_pipeline::{PipelineError, Reason};

/// Why a request failed: a stable code for machines and a message for people.
///
/// ```
/// use tidegate_serving::{ErrorCode, InferError};
///
/// let error = InferError::new(ErrorCode::UnknownModel, "there is no model \"frod\"");
/// assert_eq!(error.code.name(), "unknown_model");
/// assert_eq!(error.code.http_status(), 404);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InferError {
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: Cow<'static, str>,
    /// The limit that refused the request, if one did.
    pub limited: Option<Box<Limited>>,
    /// Whether a model has run for the request, or may have.
    pub(crate) has_run: bool,
}

impl InferError {
    /// An error with its message.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            limited: None,
            has_run: false,
        }
    }

    /// The same, of a request that a model has run for, or may have.
    pub(crate) fn after_run(self) -> Self {
        Self {
            has_run: true,
            ..self
        }
    }

    /// After how many seconds a retry may succeed, if it may.
    pub fn retry_after_s(&self) -> Option<u64> {
        match &self.limited {
            Some(limited) => Some(limited.by.retry_after_s()),
            None => self.code.retry_after_s(),
        }
    }
}

macro_rules! error_codes {
    ($($variant:ident $name:literal $http:literal $grpc:literal $meaning:literal $remedy:literal;)*) => {
        /// The stable, machine-readable kinds of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in responses.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The HTTP status.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http),* }
            }

            /// The gRPC status code, as numbered by gRPC.
            pub const fn grpc_code(self) -> i32 {
                match self { $(Self::$variant => $grpc),* }
            }

            /// What happened, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// What a client can do, for the documentation.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

// gRPC: 3 INVALID_ARGUMENT, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND, 7 PERMISSION_DENIED, 8
// RESOURCE_EXHAUSTED, 9 FAILED_PRECONDITION, 10 ABORTED, 13 INTERNAL, 14 UNAVAILABLE, 16 UNAUTHENTICATED.
error_codes! {
    MalformedJson "malformed_json" 400 3
        "the body is not valid JSON" "read the position in the message";
    MalformedRequest "malformed_request" 400 3
        "the body is JSON or protobuf, but not a request of this protocol" "compare with the API reference";
    UnknownInput "unknown_input" 400 3
        "the model has no input of this name" "ask for the model's metadata";
    MissingInput "missing_input" 400 3
        "a required input is missing" "send every input that is not optional";
    DuplicateInput "duplicate_input" 400 3
        "an input is given twice" "send it once";
    UnknownOutput "unknown_output" 400 3
        "the model has no output of this name" "ask for the model's metadata";
    UnknownDatatype "unknown_datatype" 400 3
        "the protocol has no such data type" "use one of the names in the message";
    DatatypeMismatch "datatype_mismatch" 400 3
        "the data type of the input is not that of the signature, or its values do not fit"
        "convert before sending";
    WrongRank "wrong_rank" 400 3
        "the input has more or fewer dimensions than the signature" "add or drop the batch axis";
    WrongDimension "wrong_dimension" 400 3
        "a dimension differs from the signature, or is negative, or the inputs have different numbers of rows"
        "reshape before sending";
    WrongElementCount "wrong_element_count" 400 3
        "there are more or fewer elements than the shape says" "make shape and data agree";
    ShapeOverflow "shape_overflow" 400 3
        "the shape has more elements, dimensions or rows than can be served" "send a smaller tensor";
    InvalidBinary "invalid_binary" 400 3
        "a binary section is truncated or too long, or its sizes are wrong" "check the sizes in the header";
    InvalidParameter "invalid_parameter" 400 3
        "a parameter or header has a wrong type or value" "read the parameter's name in the message";
    InvalidField "invalid_field" 400 3
        "a field of a record is unknown or missing, or its value breaks a rule of the field"
        "read the row and the field in the message";
    NoPipeline "no_pipeline" 400 9
        "the version has no pipeline, so it takes no records"
        "send tensors to `/v2/models/NAME/infer`, or add a section `[pipeline]` to its `model.toml`";
    UnknownSequence "unknown_sequence" 400 3
        "there is no live sequence of this id for the caller: it was never started, has ended or expired, or the server was restarted"
        "send its first request again, with `sequence_start`";
    SequenceInterrupted "sequence_interrupted" 409 10
        "an earlier request of the sequence failed while this one waited for its turn; the state is as before that one"
        "send the earlier request again, then this one";
    SequencesFull "sequences_full" 429 8
        "the model keeps as many sequences, or as many bytes of their states, as it may"
        "end a sequence, or wait for the time in `Retry-After`, then retry";
    TooManyInputs "too_many_inputs" 400 3
        "the request lists more tensors than allowed" "split the request";
    Unauthenticated "unauthenticated" 401 16
        "the request needs credentials and has none, or they are unknown, expired or revoked"
        "send a valid API key in `Authorization: Bearer …`";
    Forbidden "forbidden" 403 7
        "the caller does not have the permission that the request needs" "use credentials that have it";
    ForeignOrigin "foreign_origin" 403 7
        "a page of another site sent the request; nothing was done" "send it from outside a browser, or from a page of this server";
    UnknownHost "unknown_host" 421 7
        "the server does not accept the name in `Host`; nothing was done"
        "call it by its address, or add the name to `server.allowed_hosts`";
    UnknownModel "unknown_model" 404 5
        "there is no model of this name" "list the models";
    UnknownVersion "unknown_version" 404 5
        "the model has no such version loaded" "omit the version, or list the versions";
    NotFound "not_found" 404 5
        "there is nothing at this path" "see the API reference";
    BodyTimeout "body_timeout" 408 4
        "the body did not arrive in time, or came too slowly" "send it faster, or in smaller requests";
    MethodNotAllowed "method_not_allowed" 405 12
        "the path does not support this method" "see the API reference";
    Conflict "conflict" 409 9
        "what exists already, or the server's configuration, does not allow the change"
        "do what the message says: choose another name, or change the configuration";
    TriggerState "trigger_state" 409 9
        "the trigger of retraining is in a state in which this cannot be done" "list the triggers, and read the state in the message";
    CapturesChanged "captures_changed" 409 10
        "captured predictions were erased or removed while a data set was made of them; nothing was made"
        "try again";
    BodyTooLarge "body_too_large" 413 8
        "the body is larger than `max_body_bytes`, before or after decompression"
        "send fewer rows, or raise the limit";
    AnswerTooLarge "answer_too_large" 413 8
        "the answer is larger than `max_answer_bytes`" "send fewer rows, ask for fewer outputs, or raise the limit";
    UnsupportedEncoding "unsupported_encoding" 415 3
        "the content encoding is not gzip, deflate or zstd" "send it uncompressed";
    UnsupportedMediaType "unsupported_media_type" 415 3
        "the body has a content type that the version takes no records in"
        "send JSON, or read in the message what the version takes";
    RateLimited "rate_limited" 429 8
        "the caller sends more requests or rows a second, or at the same time, than a limit allows"
        "wait for the time in `Retry-After`, then retry";
    QuotaExceeded "quota_exceeded" 429 8
        "the caller has used up a quota of this day or month"
        "wait for the time in `Retry-After`, or ask for a larger quota";
    QueueFull "queue_full" 429 8
        "the queue of this model is full" "wait for the time in `Retry-After`, then retry";
    UpstreamRejected "upstream_rejected" 400 3
        "the upstream server that runs the model refuses the request" "read its reason in the message";
    ExecutionFailed "execution_failed" 500 13
        "the model failed on these inputs" "try the inputs in the model's own framework";
    Internal "internal" 500 13
        "the server has a defect" "report it, with the server's log";
    UpstreamFailed "upstream_failed" 502 13
        "the upstream server that runs the model failed on the request" "read its reason in the message, and its log";
    UpstreamInvalid "upstream_invalid" 502 13
        "the upstream server's answer cannot be read, or is not as the signature says"
        "compare its model with the one that was loaded, then load the model again";
    UpstreamUnavailable "upstream_unavailable" 503 14
        "no upstream server that runs the model can be reached, or too many requests to them failed lately"
        "wait for the time in `Retry-After`, then retry";
    FeaturesInvalid "features_invalid" 502 13
        "a feature store has a value that cannot be read, or is not of the type in `model.toml`"
        "compare the view of the store with the lookup in the message";
    FeaturesUnavailable "features_unavailable" 503 14
        "a feature store cannot be asked, or does not answer in time"
        "wait for the time in `Retry-After`, then retry";
    FeaturesStale "features_stale" 503 14
        "a feature that the request needs is older than `max_age_s` of its lookup"
        "write newer features to the store";
    BreakerOpen "breaker_open" 503 14
        "too many requests to this version failed or were slow lately, so it gets none for a while"
        "wait for the time in `Retry-After`, then retry";
    NotSaved "not_saved" 503 14
        "the change is in effect, but was not saved: a restart loses it"
        "make the data folder writable, or free its disk, then repeat the change";
    AuditUnavailable "audit_unavailable" 503 14
        "the audit log cannot be written or read; the message says whether anything was done"
        "repair the database of the log, or set `audit.required = false`";
    TrafficUnavailable "traffic_unavailable" 503 14
        "the database of traffic policies cannot be used; nothing was changed, and requests go by the policies as before"
        "repair the database, or retry later";
    GraphFailed "graph_failed" 500 13
        "a graph of models cannot be run: what one of its nodes takes or gives does not fit it (any more)"
        "read the node in the message, and compare its model with the `[graph]` of the `model.toml`";
    GraphNodeUnavailable "graph_node_unavailable" 503 14
        "a model that a graph of models runs is not there, or not loaded"
        "load the model that the message names, or retry later";
    NotReady "not_ready" 503 14
        "the model exists but is not loaded" "retry later, or load it";
    MemoryFull "memory_full" 503 14
        "the requests and answers in flight use the whole memory budget" "wait for the time in `Retry-After`, then retry, or send fewer rows";
    DatasetsFull "datasets_full" 409 8
        "the data sets would take more of the disk than `datasets.max_disk_bytes`; nothing was made"
        "delete data sets, choose fewer rows, or raise the limit";
    AuthUnavailable "auth_unavailable" 503 14
        "the server cannot check credentials or quotas now" "wait for the time in `Retry-After`, then retry";
    ShuttingDown "shutting_down" 503 14
        "the server is stopping" "send it to another replica";
    DeadlineExceeded "deadline_exceeded" 504 4
        "the answer was late, or would be late" "allow more time, or send fewer requests";
    DeadlineTooShort "deadline_too_short" 400 4
        "the deadline is shorter than a run of the model on an idle server" "allow more time";
    LoadFailed "load_failed" 400 3
        "the model cannot be loaded" "read the reason in the message";
}

impl ErrorCode {
    /// Whether a request that nothing has run for counts against no limit: the server could not do the
    /// work. What has run counts, whatever comes of it.
    pub const fn is_given_back(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::SequencesFull
                | Self::SequenceInterrupted
                | Self::MemoryFull
                | Self::NotReady
                | Self::GraphNodeUnavailable
                | Self::BreakerOpen
                | Self::FeaturesInvalid
                | Self::FeaturesUnavailable
                | Self::FeaturesStale
                | Self::UpstreamUnavailable
                | Self::ShuttingDown
                | Self::AuthUnavailable
        )
    }

    /// Whether a request can fail so while its features are looked up, through no fault of its own.
    pub const fn is_of_lookup(self) -> bool {
        matches!(
            self,
            Self::FeaturesInvalid
                | Self::FeaturesUnavailable
                | Self::FeaturesStale
                | Self::DeadlineExceeded
        )
    }

    /// Whether another version may answer in place of the one that failed so: never where the client
    /// is at fault, or the whole server cannot answer.
    pub const fn lets_fall_back(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::ExecutionFailed
                | Self::Internal
                | Self::UpstreamFailed
                | Self::UpstreamInvalid
                | Self::UpstreamUnavailable
                | Self::BreakerOpen
                | Self::FeaturesInvalid
                | Self::FeaturesUnavailable
                | Self::FeaturesStale
                | Self::NotReady
                | Self::GraphFailed
                | Self::GraphNodeUnavailable
                | Self::MemoryFull
                | Self::DeadlineExceeded
        )
    }

    /// After how many seconds a retry may succeed, if it may.
    pub const fn retry_after_s(self) -> Option<u64> {
        match self {
            Self::QueueFull
            | Self::SequencesFull
            | Self::MemoryFull
            | Self::AuthUnavailable
            | Self::UpstreamUnavailable
            | Self::BreakerOpen
            | Self::FeaturesUnavailable
            | Self::ShuttingDown => Some(1),
            _ => None,
        }
    }
}

impl From<SignatureError> for InferError {
    fn from(error: SignatureError) -> Self {
        let code = match &error {
            SignatureError::UnknownInput { .. } => ErrorCode::UnknownInput,
            SignatureError::MissingInput { .. } => ErrorCode::MissingInput,
            SignatureError::DuplicateInput { .. } => ErrorCode::DuplicateInput,
            SignatureError::DataType { .. } => ErrorCode::DatatypeMismatch,
            SignatureError::Shape { rank: true, .. } => ErrorCode::WrongRank,
            SignatureError::Shape { rank: false, .. } | SignatureError::Rows { .. } => {
                ErrorCode::WrongDimension
            }
            SignatureError::UnknownOutput { .. } => ErrorCode::UnknownOutput,
        };
        Self::new(code, error.to_string())
    }
}

/// The code of a tensor that could not be built. The front end adds the tensor's name to the
/// message.
impl From<&TensorError> for ErrorCode {
    fn from(error: &TensorError) -> Self {
        match error {
            TensorError::ByteCount { .. } | TensorError::Strings(_) => Self::InvalidBinary,
            TensorError::ElementCount { .. } => Self::WrongElementCount,
            TensorError::NotBool { .. } => Self::DatatypeMismatch,
            TensorError::Shape(ShapeError::Negative { .. }) => Self::WrongDimension,
            TensorError::Shape(_) => Self::ShapeOverflow,
            TensorError::Mismatch { .. }
            | TensorError::NothingToJoin
            | TensorError::OutOfMemory { .. } => Self::Internal,
        }
    }
}

impl From<PipelineError> for InferError {
    fn from(error: PipelineError) -> Self {
        let code = match &error {
            PipelineError::Json(_) => ErrorCode::MalformedJson,
            PipelineError::Form(_) => ErrorCode::MalformedRequest,
            PipelineError::Row(row) => match row.reason {
                Reason::Stale => ErrorCode::FeaturesStale,
                Reason::Unreadable => ErrorCode::FeaturesInvalid,
                _ => ErrorCode::InvalidField,
            },
            PipelineError::Datatype(_) => ErrorCode::DatatypeMismatch,
            PipelineError::Shape(_) => ErrorCode::WrongDimension,
            PipelineError::Output(_) => ErrorCode::ExecutionFailed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Denied> for InferError {
    fn from(error: Denied) -> Self {
        let code = match &error {
            Denied::NoCredentials | Denied::BadCredentials(_) | Denied::BadToken(_) => {
                ErrorCode::Unauthenticated
            }
            Denied::Forbidden { .. } => ErrorCode::Forbidden,
            Denied::Limited(limited) => match limited.by {
                LimitedBy::Quota { .. } => ErrorCode::QuotaExceeded,
                _ => ErrorCode::RateLimited,
            },
            Denied::Unavailable(_) => ErrorCode::AuthUnavailable,
        };
        let message = error.to_string();
        let limited = match error {
            Denied::Limited(limited) => Some(limited),
            _ => None,
        };
        Self {
            limited,
            ..Self::new(code, message)
        }
    }
}

impl From<UnknownDataType> for InferError {
    fn from(error: UnknownDataType) -> Self {
        Self::new(ErrorCode::UnknownDatatype, error.to_string())
    }
}

impl From<RunError> for InferError {
    fn from(error: RunError) -> Self {
        let (code, has_run) = match &error {
            RunError::Input { .. } => (ErrorCode::DatatypeMismatch, true),
            RunError::Engine(_) => (ErrorCode::ExecutionFailed, true),
            RunError::Upstream {
                failure, has_run, ..
            } => (upstream_code(*failure), *has_run),
        };
        Self {
            has_run,
            ..Self::new(code, error.to_string())
        }
    }
}

fn upstream_code(failure: UpstreamFailure) -> ErrorCode {
    match failure {
        UpstreamFailure::Unavailable => ErrorCode::UpstreamUnavailable,
        UpstreamFailure::TimedOut => ErrorCode::DeadlineExceeded,
        UpstreamFailure::Invalid => ErrorCode::UpstreamInvalid,
        UpstreamFailure::Failed => ErrorCode::UpstreamFailed,
        UpstreamFailure::Rejected => ErrorCode::UpstreamRejected,
        UpstreamFailure::Overloaded => ErrorCode::QueueFull,
    }
}
