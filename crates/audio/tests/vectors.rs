//! Samples and spectrograms beside those of librosa 0.11, from `vectors/make_vectors.py`.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use serde_json::Value;
use tidegate_audio::{
    Logarithm, Mel, MelNorm, MelOptions, MelScale, PadMode, Recipe, Window, resampled_length,
};

const SPEECH: &[u8] = include_bytes!("vectors/speech.flac");

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/vectors.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap().iter();
    numbers
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn speech(sample_rate: u32) -> Vec<f32> {
    let recipe = Recipe {
        sample_rate,
        ..Recipe::default()
    };
    recipe.run(SPEECH).unwrap()
}

fn options(given: &Value) -> MelOptions {
    let number = |name: &str| given[name].as_f64();
    let count = |name: &str| given[name].as_u64().map(|count| count as usize);
    let defaults = MelOptions::new(16_000);
    let n_fft = count("n_fft").unwrap_or(defaults.n_fft);
    let amin = number("amin").unwrap_or(0.0);
    MelOptions {
        n_fft,
        hop_length: count("hop_length").unwrap_or(defaults.hop_length),
        win_length: count("win_length").unwrap_or(n_fft),
        window: if given["window"] == "hamming" {
            Window::Hamming
        } else {
            Window::Hann
        },
        center: given["center"] != false,
        pad_mode: if given["pad_mode"] == "reflect" {
            PadMode::Reflect
        } else {
            PadMode::Constant
        },
        drop_last_frame: given["log"] == "whisper",
        power: number("power").unwrap_or(defaults.power),
        n_mels: count("n_mels").unwrap_or(defaults.n_mels),
        fmin: number("fmin").unwrap_or(defaults.fmin),
        fmax: number("fmax").unwrap_or(defaults.fmax),
        scale: if given["htk"] == true {
            MelScale::Htk
        } else {
            MelScale::Slaney
        },
        norm: if given.get("norm").is_some() {
            MelNorm::None
        } else {
            MelNorm::Slaney
        },
        logarithm: match given["log"].as_str() {
            Some("db") => Logarithm::Decibels {
                amin,
                top_db: number("top_db"),
            },
            Some("natural") => Logarithm::Natural { amin },
            Some("whisper") => Logarithm::Whisper,
            _ => Logarithm::None,
        },
        n_mfcc: count("n_mfcc"),
        frames_first: false,
        ..defaults
    }
}

/// The largest difference of two rows of numbers, beside the largest number.
fn difference(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted
        .iter()
        .fold(0f32, |most, number| most.max(number.abs()));
    let pairs = found.iter().zip(wanted);
    let difference = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    difference / largest
}

#[test]
fn samples_of_flac_are_those_of_libsndfile_bit_for_bit() {
    let samples = speech(16_000);
    assert_eq!(samples.len(), 6400);
    assert_eq!(samples[..100], numbers(&vectors()["samples"]));
}

#[test]
fn spectrograms_differ_from_those_of_librosa_by_no_more_than_single_precision() {
    let samples = speech(16_000);
    for case in vectors()["mel"].as_array().unwrap() {
        let mel = Mel::new(options(&case["options"])).unwrap();
        let found = mel.run(&samples).unwrap();
        let shape = [mel.bands(), mel.frames(samples.len())];
        let wanted: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        assert_eq!(wanted, shape, "{}", case["name"]);
        let difference = difference(&found, &numbers(&case["numbers"]));
        assert!(difference <= 2e-6, "{}: {difference}", case["name"]);
    }
}

#[test]
fn resampled_speech_differs_little_from_that_of_soxr() {
    // Where the filter has the length of soxr's, and where it must be longer and passes more.
    let decibels = [("8000", -60.0), ("11025", -35.0), ("22050", -45.0)];
    for (name, most) in decibels {
        let rate: u32 = name.parse().unwrap();
        let (found, wanted) = (speech(rate), numbers(&vectors()["resampled"][name]));
        assert_eq!(found.len(), resampled_length(6400, 16_000, rate));
        assert_eq!(found.len(), wanted.len());
        let energy = |numbers: &[f32]| numbers.iter().map(|number| number * number).sum::<f32>();
        let pairs = found.iter().zip(&wanted);
        let error: Vec<f32> = pairs.map(|(a, b)| a - b).collect();
        let decibels = 10.0 * (energy(&error) / energy(&wanted)).log10();
        println!("{rate}: {decibels} dB");
        assert!(decibels < most, "{rate}: {decibels} dB");
    }
}

#[test]
fn each_sound_is_measured_by_its_own_maximum() {
    let mel = Mel::new(MelOptions {
        logarithm: Logarithm::Decibels {
            amin: 1e-16,
            top_db: Some(80.0),
        },
        ..MelOptions::new(16_000)
    })
    .unwrap();
    let mut loud = speech(16_000);
    loud.resize(16_000, 0.0);
    let quiet: Vec<f32> = loud.iter().map(|sample| sample * 1e-3).collect();
    let largest = |numbers: &[f32]| numbers.iter().copied().fold(f32::MIN, f32::max);
    let (loud, quiet) = (mel.run(&loud).unwrap(), mel.run(&quiet).unwrap());
    let lowest = quiet.iter().copied().fold(f32::MAX, f32::min);
    assert!((largest(&quiet) - lowest - 80.0).abs() < 1e-3);
    assert!((largest(&loud) - largest(&quiet) - 60.0).abs() < 1e-3);
}
