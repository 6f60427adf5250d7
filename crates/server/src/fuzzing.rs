//! Code that reads bytes from outside, for the fuzz targets in `fuzz/` and for tests that run the
//! same functions without a fuzzer.
//!
//! Each function takes any bytes. It panics if the result breaks an invariant; it may refuse the
//! bytes. It returns whether they were accepted, so that a test can check that its seeds are not
//! all refused.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_audio::{Header as SoundHeader, Mel, MelOptions, Recipe as SoundRecipe};
use tidegate_core::{DataType, Dim, Signature, Tensor, TensorSpec};
use tidegate_image::{Header, Numbers, Recipe};
use tidegate_protocol::inference::ModelInferRequest;
use tidegate_protocol::model_config;
use tidegate_serving::{InferError, Limits};

use crate::json::{DecodedRequest, decode_by, decode_infer, decode_instances};
use crate::{grpc, parameters};

/// A body that is all JSON, in both protocols that have one.
pub fn infer_json(body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let signature = Signature {
        inputs: vec![open_input(DataType::Fp32)],
        outputs: Vec::new(),
    };
    let instances = decode_instances(&body, &signature);
    instances
        .iter()
        .flatten()
        .for_each(|(_, tensor)| check(tensor));
    decoded(&body, body.len()) || instances.is_ok()
}

/// An image: if it becomes numbers, then as many as its header says.
pub fn image(file: &[u8]) -> bool {
    // Small, so that a fuzzer tries many.
    const MAX_PIXELS: usize = 1 << 14;
    let recipe = Recipe {
        max_pixels: MAX_PIXELS,
        ..Recipe::default()
    };
    let size = Header::read(file).and_then(|header| recipe.size(&header));
    let Ok(size) = size else { return false };
    assert!(size.pixels() <= MAX_PIXELS);
    let mut pixels = vec![0; size.pixels() * recipe.color.channels()];
    let made = recipe.run(file, Numbers::Bytes(&mut pixels));
    assert!(made.is_err() || made == Ok(size));
    made.is_ok()
}

/// A sound: if it becomes samples, then as many as its header says, each a number; and a spectrogram.
pub fn sound(file: &[u8]) -> bool {
    // Short, so that a fuzzer tries many.
    let recipe = SoundRecipe {
        sample_rate: 8000,
        max_seconds: 0.5,
        ..SoundRecipe::default()
    };
    let header = SoundHeader::read(file);
    let bytes = header.as_ref().map(|header| recipe.bytes(header));
    let Ok(Ok(bytes)) = bytes else { return false };
    let Ok(samples) = recipe.run(file) else {
        return false;
    };
    assert!(samples.len() <= recipe.max_samples());
    assert!(bytes.made >= samples.len() * size_of::<f32>());
    if let Ok(Some(frames)) = header.map(|header| header.frames) {
        assert!(frames > 0 && !samples.is_empty());
    }
    assert!(samples.iter().all(|sample| sample.is_finite()));
    let options = MelOptions {
        n_fft: 64,
        win_length: 64,
        hop_length: 32,
        n_mels: 8,
        ..MelOptions::new(8000)
    };
    let mel = Mel::new(options).expect("the options make sense");
    let bands = mel.run(&samples).expect("silence around it makes a frame");
    assert_eq!(bands.len(), mel.frames(samples.len()) * mel.bands());
    true
}

/// An answer of another server.
pub fn upstream_answer(body: &[u8]) -> bool {
    tidegate_remote::fuzzing::answer(body)
}

/// A body that is all JSON: what the fast reader accepts, the general one reads alike. The fast one
/// alone does not say that a body is wrong.
pub fn json_readers(body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let Ok(fast) = decode_by(&body, body.len(), true) else {
        return false;
    };
    let careful = decode_by(&body, body.len(), false)
        .expect("the general reader takes what the fast one takes");
    assert_eq!(fast.inputs.len(), careful.inputs.len());
    for ((name, tensor), (other_name, other)) in fast.inputs.iter().zip(&careful.inputs) {
        assert_eq!(
            (name, tensor.datatype(), tensor.shape()),
            (other_name, other.datatype(), other.shape())
        );
        assert_eq!(tensor.wire(), other.wire());
    }
    assert_eq!(
        (fast.id, fast.outputs, fast.binary),
        (careful.id, careful.outputs, careful.binary)
    );
    true
}

/// A body with binary data: two bytes of the JSON's length, and then the body.
pub fn infer_binary(bytes: &[u8]) -> bool {
    let Some((length, body)) = bytes.split_first_chunk() else {
        return false;
    };
    let body = Bytes::copy_from_slice(body);
    let header_bytes = usize::from(u16::from_le_bytes(*length)).min(body.len());
    decoded(&body, header_bytes)
}

fn decoded(body: &Bytes, header_bytes: usize) -> bool {
    let Ok(request) = decode_infer(body, header_bytes) else {
        return false;
    };
    let DecodedRequest {
        inputs,
        outputs,
        binary,
        parameters,
        ..
    } = request;
    assert_eq!(outputs.len(), binary.len());
    inputs.iter().for_each(|(_, tensor)| check(tensor));
    settings(&parameters).is_ok()
}

fn settings(parameters: &parameters::Parameters) -> Result<(), InferError> {
    parameters.deadline(Instant::now())?;
    parameters.priority()?;
    parameters.flag("binary_data_output")?;
    Ok(())
}

/// A `ModelInferRequest`.
pub fn grpc_message(bytes: &[u8]) -> bool {
    let Ok(message) = tidegate_protocol::decode::<ModelInferRequest>(Bytes::copy_from_slice(bytes))
    else {
        return false;
    };
    let Ok(decoded) = grpc::request(message, Some(Duration::from_secs(1)), Instant::now()) else {
        return false;
    };
    decoded
        .request
        .inputs
        .iter()
        .for_each(|(_, tensor)| check(tensor));
    true
}

/// A `config.pbtxt`.
pub fn config_pbtxt(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(config) = model_config::parse(text) else {
        return false;
    };
    assert_eq!(model_config::to_json(&config)["name"], config.name.as_str());
    true
}

/// A `model.toml`.
pub fn model_toml(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(manifest) = tidegate_serving::parse_manifest(text) else {
        return false;
    };
    let limits = Limits::new(&manifest.batching, NonZeroUsize::new(8));
    // Not set, the most urgent, and more than there can be.
    for asked in [0, 1, u64::MAX] {
        assert!(manifest.batching.level(asked) < limits.levels);
    }
    true
}

fn open_input(datatype: DataType) -> TensorSpec {
    TensorSpec {
        name: "x".to_owned(),
        datatype,
        dims: Some(vec![Dim::Any, Dim::Any]),
        optional: false,
    }
}

/// A tensor holds what its shape and type say, and its binary form reads back as itself.
fn check(tensor: &Tensor) {
    let wire = tensor.wire();
    if let Some(element_bytes) = tensor.datatype().element_bytes() {
        assert_eq!(wire.len(), tensor.shape().element_count() * element_bytes);
    }
    assert_eq!(wire.len(), tensor.byte_len());
    let back = Tensor::from_wire(tensor.datatype(), tensor.shape().clone(), wire.clone());
    assert_eq!(
        back.expect("a tensor's binary form is one of its own shape")
            .wire(),
        wire
    );
    if !tensor.shape().is_empty() && tensor.rows() > 0 {
        let (first, rest) = (
            tensor.slice_rows(0, 1),
            tensor.slice_rows(1, tensor.rows() - 1),
        );
        let joined =
            Tensor::concat_rows(&[&first, &rest]).expect("slices of one tensor fit together");
        assert_eq!(joined.wire(), wire);
    }
}
