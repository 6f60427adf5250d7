//! Pipelines whose fields are sounds: what compiling refuses, and what a run needs and makes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline};

/// 240 samples at 8 kHz.
const FLAC: &[u8] = include_bytes!("../../../fuzz/seeds/sound/flac");
/// 100 frames of two channels at 16 kHz.
const WAV: &[u8] = include_bytes!("../../../fuzz/seeds/sound/wav_16");

fn compile(steps: &str, dims: &[i64]) -> Result<Pipeline, String> {
    let spec = format!(
        "fields = [{{ name = \"sound\", type = \"bytes\" }}]\n\
         before = [{steps}]\n\
         inputs = [{{ name = \"x\", columns = [\"sound\"] }}]\n"
    );
    let spec: PipelineSpec = toml::from_str(&spec).map_err(|error| error.to_string())?;
    let dims: Vec<Dim> = dims.iter().map(|dim| Dim::from_wire(*dim)).collect();
    let tensor = |name: &str, dims| TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", dims)],
        outputs: vec![tensor("y", vec![Dim::Any])],
    };
    let compiled = Pipeline::compile(&spec, &BundleFiles::new(), &signature);
    compiled.map_err(|error| error.to_string())
}

fn audio(settings: &str) -> String {
    format!("{{ step = \"audio\", input = \"sound\", sample_rate = 8000{settings} }}")
}

fn mel(settings: &str) -> String {
    let step = "{ step = \"mel_spectrogram\", input = \"sound\", n_fft = 64, n_mels = 8";
    format!("{}, {step}{settings} }}", audio(", length = 320"))
}

fn input(pipeline: &Pipeline, file: &'static [u8]) -> Result<Tensor, String> {
    let parts = [("sound".to_owned(), Bytes::from_static(file))];
    let records = pipeline.read_parts(&parts, BadRows::FailRequest);
    let run = records.and_then(|records| pipeline.before(records));
    let mut run = run.map_err(|error| error.to_string())?;
    Ok(run.take_inputs().remove(0).1)
}

#[test]
fn samples_and_frames_are_held_against_the_input_of_the_model() {
    assert!(compile(&audio(", length = 320"), &[-1, 320]).is_ok());
    assert!(compile(&audio(""), &[-1, 320]).is_ok());
    let refused = compile(&audio(", length = 320"), &[-1, 321]).unwrap_err();
    assert!(refused.ends_with("has [320]"), "{refused}");
    // 320 / 16 frames, and one more.
    assert!(compile(&mel(""), &[-1, 8, 21]).is_ok());
    assert!(compile(&mel(", layout = \"frames_bands\""), &[-1, 21, 8]).is_ok());
    assert!(compile(&mel(", n_mfcc = 5"), &[-1, 5, 21]).is_ok());
    assert!(compile(&mel(", drop_last_frame = true"), &[-1, 8, 20]).is_ok());
    assert!(compile(&mel(""), &[-1, 21, 8]).is_err());
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    for (steps, problem) in [
        (audio(", max_seconds = 4000"), "max_seconds is 4000"),
        (
            audio(", length = 0"),
            "length is 0, it must be 1 to 28800000",
        ),
        (audio(", shorter = \"stretch\""), "unknown variant"),
        (mel(", hop_length = 0"), "hop_length is 0, it must be 1 to"),
        (
            mel(", win_length = 65"),
            "win_length is 65, it must be 1 to 64",
        ),
        (mel(", n_mfcc = 9"), "n_mfcc is 9, it must be 1 to 8"),
        (mel(", fmax = 4001.0"), "from 0 to 4000"),
        (mel(", power = 0.0"), "power must be a number above 0"),
        (mel(", log = \"db\", amin = 0.0"), "amin must be above 0"),
        (
            mel(", log = \"db\", top_db = -1.0"),
            "top_db must be 0 or above",
        ),
    ] {
        let refused = compile(&steps, &[-1, -1, -1]).or(compile(&steps, &[-1, -1]));
        let refused = refused.unwrap_err();
        assert!(refused.contains(problem), "{steps}: {refused}");
    }
}

#[test]
fn sounds_become_tensors_of_a_row_each() {
    let plain = compile(&audio(""), &[-1, -1]).unwrap();
    let samples = input(&plain, FLAC).unwrap();
    assert_eq!(samples.shape(), &Shape::new(&[1, 240]).unwrap());
    // Half as many at half of the rate.
    let samples = input(&plain, WAV).unwrap();
    assert_eq!(samples.shape(), &Shape::new(&[1, 50]).unwrap());
    let bands = input(&compile(&mel(""), &[-1, 8, 21]).unwrap(), FLAC).unwrap();
    assert_eq!(bands.shape(), &Shape::new(&[1, 8, 21]).unwrap());
}

#[test]
fn what_decoding_takes_is_known_before_it_begins() {
    let plain = compile(&audio(""), &[-1, -1]).unwrap();
    let read = |file: &'static [u8]| {
        let parts = [("sound".to_owned(), Bytes::from_static(file))];
        plain.read_parts(&parts, BadRows::FailRequest).unwrap()
    };
    assert!(plain.content_bytes(&read(WAV)) >= 100 * 4 + 50 * 4);
    assert!(plain.content_bytes(&read(FLAC)) >= 240 * 4);
    assert_eq!(plain.content_bytes(&read(b"no sound")), 0);
}

#[test]
fn the_tensor_that_a_model_takes_is_described() {
    let describe = |pipeline: Pipeline| pipeline.inputs().next().unwrap().1;
    let steps = mel("");
    assert_eq!(
        describe(compile(&steps, &[-1, 8, 21]).unwrap()),
        "tensor FP32 [-1, 8, 21]"
    );
    assert_eq!(
        describe(compile(&audio(""), &[-1, -1]).unwrap()),
        "tensor FP32 [-1, -1]"
    );
}
