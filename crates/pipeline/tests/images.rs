//! Pipelines whose fields are images: what compiling refuses, and what a run needs and makes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline};

/// 7 x 5 pixels.
const PNG: &[u8] = include_bytes!("../../../fuzz/seeds/image/png");
/// 19 x 13 pixels as stored, and turned by its EXIF.
const JPEG: &[u8] = include_bytes!("../../../fuzz/seeds/image/jpeg");

fn compile(step: &str, datatype: DataType, dims: &[i64]) -> Result<Pipeline, String> {
    let spec = format!(
        "fields = [{{ name = \"photo\", type = \"bytes\" }}]\n\
         before = [{{ step = \"image\", input = \"photo\", {step} }}]\n\
         inputs = [{{ name = \"x\", columns = [\"photo\"] }}]\n"
    );
    let spec: PipelineSpec = toml::from_str(&spec).map_err(|error| error.to_string())?;
    let dims: Vec<Dim> = dims.iter().map(|dim| Dim::from_wire(*dim)).collect();
    let tensor = |name: &str, datatype, dims| TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", datatype, dims)],
        outputs: vec![tensor("y", DataType::Fp32, vec![Dim::Any])],
    };
    let compiled = Pipeline::compile(&spec, &BundleFiles::new(), &signature);
    compiled.map_err(|error| error.to_string())
}

fn input(pipeline: &Pipeline, file: &'static [u8]) -> Result<Tensor, String> {
    let parts = [("photo".to_owned(), Bytes::from_static(file))];
    let records = pipeline.read_parts(&parts, BadRows::FailRequest);
    let run = records.and_then(|records| pipeline.before(records));
    let mut run = run.map_err(|error| error.to_string())?;
    Ok(run.take_inputs().remove(0).1)
}

#[test]
fn sizes_are_held_against_the_input_of_the_model() {
    let fits = "resize = { width = 8, height = 6 }";
    assert!(compile(fits, DataType::Fp32, &[-1, 3, 6, 8]).is_ok());
    assert!(compile(fits, DataType::Fp32, &[-1, -1, -1, -1]).is_ok());
    let nhwc = "resize = { width = 8, height = 6 }, layout = \"nhwc\"";
    assert!(compile(nhwc, DataType::Fp32, &[-1, 6, 8, 3]).is_ok());
    for dims in [[-1, 3, 8, 6], [-1, 6, 8, 3], [-1, 1, 6, 8]] {
        let refused = compile(fits, DataType::Fp32, &dims).unwrap_err();
        let wanted = "and a row of the tensor \"photo\" has [3, 6, 8]";
        assert!(refused.ends_with(wanted), "{refused}");
    }
    let refused = compile(fits, DataType::Uint8, &[-1, 3, 6, 8]).unwrap_err();
    assert!(refused.contains("takes UINT8"), "{refused}");
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    for (step, problem) in [
        ("mean = [1.0, 2.0]", "mean has 2 numbers for 3 channels"),
        (
            "color = \"gray\", std = [1.0, 2.0]",
            "std has 2 numbers for 1 channels",
        ),
        ("std = [1.0, 0.0, 1.0]", "std has a 0"),
        ("datatype = \"INT64\"", "it makes FP32 or UINT8, not INT64"),
        (
            "datatype = \"UINT8\", scale = 0.5",
            "UINT8 has the pixels as they are",
        ),
        ("resize = { width = 8 }", "resize takes either"),
        (
            "resize = { shortest = 8, width = 8 }",
            "resize takes either",
        ),
        ("resize = { shortest = 0 }", "a side of 0 pixels"),
        ("resize = { shortest = 70000 }", "a side of 70000 pixels"),
        ("crop = { width = 0, height = 1 }", "a side of 0 pixels"),
        (
            "resize = { width = 8, height = 6 }, crop = { width = 6, height = 8 }",
            "the crop of 6 x 8 is larger than 8 x 6",
        ),
        (
            "resize = { shortest = 8 }, crop = { width = 9, height = 9 }",
            "the crop of 9 x 9 is larger than 8 x 8",
        ),
        ("max_pixels = 0", "max_pixels must be 1 to"),
        (
            "resize = { shortest = 8, filter = \"magic\" }",
            "unknown variant",
        ),
    ] {
        let refused = compile(step, DataType::Fp32, &[-1, -1, -1, -1]).unwrap_err();
        assert!(refused.contains(problem), "{step}: {refused}");
    }
}

#[test]
fn pixels_become_a_tensor_of_the_wanted_type_and_layout() {
    let bytes = compile("datatype = \"UINT8\"", DataType::Uint8, &[-1, 3, -1, -1]).unwrap();
    let planes = input(&bytes, PNG).unwrap();
    assert_eq!(planes.shape(), &Shape::new(&[1, 3, 5, 7]).unwrap());
    let step = "layout = \"nhwc\", channels = \"bgr\", scale = 2.0, mean = [1.0, 0.0, 0.0]";
    let floats = compile(step, DataType::Fp32, &[-1, -1, -1, 3]).unwrap();
    let pixels = input(&floats, PNG).unwrap();
    assert_eq!(pixels.shape(), &Shape::new(&[1, 5, 7, 3]).unwrap());
    let (planes, pixels) = (
        planes.as_slice::<u8>().unwrap(),
        pixels.as_slice::<f32>().unwrap(),
    );
    for at in 0..35 {
        let [red, green, blue] = [0, 1, 2].map(|plane| f32::from(planes[plane * 35 + at]) * 2.0);
        assert_eq!(pixels[at * 3..at * 3 + 3], [blue - 1.0, green, red]);
    }
    let turned = input(&bytes, JPEG).unwrap();
    assert_eq!(turned.shape(), &Shape::new(&[1, 3, 19, 13]).unwrap());
}

#[test]
fn what_decoding_takes_is_known_before_it_begins() {
    let fixed = compile(
        "resize = { width = 8, height = 6 }",
        DataType::Fp32,
        &[-1, 3, 6, 8],
    );
    let fixed = fixed.unwrap();
    let read = |file: &'static [u8]| {
        let parts = [("photo".to_owned(), Bytes::from_static(file))];
        fixed.read_parts(&parts, BadRows::FailRequest).unwrap()
    };
    assert!(fixed.content_bytes(&read(PNG)) >= 2 * 7 * 5 * 3);
    assert!(fixed.content_bytes(&read(JPEG)) > fixed.content_bytes(&read(PNG)));
    assert_eq!(fixed.content_bytes(&read(b"no image")), 0);
    assert!(fixed.bytes_of_parts_at_most(PNG.len(), BadRows::FailRequest) >= 8 * 6 * 3 * 4);
}

#[test]
fn an_image_that_is_too_large_is_refused_by_its_header() {
    let pipeline = compile("max_pixels = 34", DataType::Fp32, &[-1, 3, -1, -1]).unwrap();
    let wanted = "row 0: field \"photo\" has 7 x 5 pixels, there may be 34 in all (max_pixels)";
    assert_eq!(input(&pipeline, PNG).unwrap_err(), wanted);
    let crop = "crop = { width = 8, height = 5 }";
    let pipeline = compile(crop, DataType::Fp32, &[-1, 3, 5, 8]).unwrap();
    let wanted = "row 0: field \"photo\" has 7 x 5 pixels, and 8 x 5 are cut out of it";
    assert_eq!(input(&pipeline, PNG).unwrap_err(), wanted);
    let wide = "resize = { shortest = 60000 }";
    let pipeline = compile(wide, DataType::Fp32, &[-1, 3, -1, -1]).unwrap();
    assert!(
        input(&pipeline, PNG)
            .unwrap_err()
            .contains("becomes 84000 x 60000 pixels")
    );
}
