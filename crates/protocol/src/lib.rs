//! The Open Inference Protocol's gRPC messages and Triton's model configuration.
//!
//! In: `.proto` files and `config.pbtxt` texts. Out: plain structs. This crate knows nothing of
//! models or serving; it is a crate of its own because its generated code is slow to compile and
//! seldom changes.
//!
//! ```
//! use tidegate_protocol::model_config;
//!
//! let config = model_config::parse("name: \"digits\" max_batch_size: 32").unwrap();
//! assert_eq!((config.name.as_str(), config.max_batch_size), ("digits", 32));
//!
//! let error = model_config::parse("model_operations { }").unwrap_err();
//! assert_eq!(error.to_string(), "field \"model_operations\" is not supported");
//! ```

/// The generated messages, server and client of `inference.GRPCInferenceService`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod inference {
    tonic::include_proto!("inference");
}

mod codec;
pub mod model_config;

pub use codec::{BoundedCodec, BoundedDecoder, CODE_KEY, decode};

/// The compiled `.proto` files, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
