//! Prints how long JPEG files take to become the numbers of a model, beside the bare crates:
//! `cargo run --release -p tidegate-image --example image_speed FILE…`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use tidegate_image::{Filter, Numbers, Recipe, Resize, Size};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

const SIDE: usize = 224;
const NUMBERS: usize = 3 * SIDE * SIDE;
const ROUNDS: usize = 15;

fn main() {
    let size = Size {
        width: SIDE,
        height: SIDE,
    };
    let recipe = Recipe {
        resize: Some(Resize::Exact {
            size,
            filter: Filter::Bilinear,
        }),
        scale: 1.0 / 255.0,
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
        ..Recipe::default()
    };
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).expect("the file can be read");
        let mut numbers = vec![0.0; NUMBERS];
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // By turns, so that both see the same machine.
            ours.push(time(|| {
                let made = recipe.run(&file, Numbers::Floats(&mut numbers));
                made.expect("the file is an image");
                black_box(&numbers);
            }));
            bare.push(time(|| {
                black_box(bare_crates(&file));
            }));
        }
        let (ours, bare) = (median(ours), median(bare));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        println!("{path}: {ours:?}, the bare crates {bare:?}, ratio {ratio:.2}");
    }
}

/// Decoding, resizing and normalizing with the crates alone.
fn bare_crates(file: &[u8]) -> Vec<f32> {
    let mut decoder = JpegDecoder::new(ZCursor::new(file));
    let pixels = decoder.decode().expect("the file is a JPEG");
    let (width, height) = decoder.dimensions().expect("it is decoded");
    let source = Image::from_vec_u8(width as u32, height as u32, pixels, PixelType::U8x3);
    let mut resized = Image::new(SIDE as u32, SIDE as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let source = source.expect("there are pixels enough");
    let done = Resizer::new().resize(&source, &mut resized, &options);
    done.expect("both have the same pixels");
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut numbers = vec![0.0; NUMBERS];
    for (at, pixel) in resized.buffer().chunks_exact(3).enumerate() {
        for channel in 0..3 {
            let value = f32::from(pixel[channel]) / 255.0;
            numbers[channel * SIDE * SIDE + at] = (value - mean[channel]) / std[channel];
        }
    }
    numbers
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
