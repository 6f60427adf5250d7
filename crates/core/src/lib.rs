//! The types that all other crates share: tensors, data types, signatures and manifests.
//!
//! In: bytes and shapes that others read from a wire or a file. Out: checked values: once a
//! [`Tensor`] or a [`Signature`] exists, it is right. This crate does no I/O, and must depend neither
//! on an async runtime nor on an engine.
//!
//! ```
//! use tidegate_core::{DataType, Dim, Shape, Signature, Tensor, TensorSpec};
//!
//! let amount = TensorSpec {
//!     name: "amount".to_owned(),
//!     datatype: DataType::Fp32,
//!     dims: Some(vec![Dim::Any, Dim::Fixed(2)]),
//!     optional: false,
//! };
//! let signature = Signature { inputs: vec![amount], outputs: Vec::new() };
//!
//! let tensor = Tensor::from_vec(Shape::new(&[1, 3])?, vec![1.0f32, 2.0, 3.0])?;
//! let error = signature.bind(vec![("amount".to_owned(), tensor)]).unwrap_err();
//! assert_eq!(error.to_string(), "input \"amount\" has shape [1, 3], the signature says [-1, 2]");
//! # Ok::<(), tidegate_core::TensorError>(())
//! ```

mod content_store;
mod datatype;
mod feature;
mod manifest;
mod names;
mod not_finite;
mod shape;
mod signature;
mod strings;
mod tensor;
mod trace;

pub use half::{bf16, f16};
pub use names::{InvalidModelName, ModelName};
pub use not_finite::{parse_not_finite, quote_not_finite};

pub use content_store::is_in_content_store;
pub use datatype::{DataType, UnknownDataType};
pub use feature::{Feature, FeatureQuery, FeatureValue, KeyValue, murmur3_32};
pub use manifest::{
    ArgmaxStep, AudioStep, Batching, BreakerSpec, BucketizeStep, CalibrateStep, Calibration,
    CastStep, Category, ChannelOrder, ClipStep, Column, ConcatStep, CrossStep, CyclicalStep,
    DatePart, DatePartsStep, DeclaredSignature, DeclaredTensor, EngineChoice, EngineInputSpec,
    EngineOptions, EntityFieldSpec, EntityKeyType, ExpressionStep, FeatureDefault, FieldSpec,
    FieldType, FileSpec, FittedStep, FlagInput, FrameWindow, FunctionStep, GoldenSample,
    GraphMerge, GraphMergeSpec, GraphNodeSpec, GraphOptimization, GraphSpec, HashStep, ImageColor,
    ImageCrop, ImageFilter, ImageLayout, ImageResize, ImageStep, ImputeStep, LabelStep, Lineage,
    LongerSound, LookedUpFeatureSpec, LookupPolicy, LookupSpec, Manifest, MelLog, MelNormName,
    MelScaleName, MelSpectrogramStep, NormalizeStep, NumberFunction, OneHotStep, OrdinalStep,
    OutputSpec, PickStep, PipelineSpec, PoolMode, PoolStep, QualitySpec, QualityTask, RatioStep,
    RemoteSpec, RenameStep, ResourceLimits, ResponseFieldSpec, RoundStep, ScaleStep, SequenceSpec,
    ShorterSound, SigmoidStep, SoftmaxStep, SoundNormalization, SoundPadding, SpectrogramLayout,
    StateSpec, StepSpec, ThresholdRule, ThresholdStep, TokenDatatype, TokenPadding,
    TokenTruncation, TokenizeStep, Tolerance, TopKStep, UnknownCategory, UnknownFields,
    ViolationPolicy, WarmupSample,
};
pub use shape::{Shape, ShapeError};
pub use signature::{Dim, Signature, SignatureError, TensorSpec};
pub use strings::{StringArray, StringArrayBuilder, StringsError};
pub use tensor::{Element, Tensor, TensorBuffer, TensorError, TensorView};
pub use trace::TraceContext;
