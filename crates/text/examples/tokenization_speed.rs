//! How fast texts are tokenized beside the bare crate, on one thread.
//!
//!     cargo run --release --package tidegate-text --example tokenization_speed -- tokenizer.json [max_length]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate_text::{TextInput, Tokenizer, TokenizerOptions};
use tokenizers::utils::parallelism::set_parallelism;
use tokenizers::utils::{padding::PaddingParams, truncation::TruncationParams};

const BATCH: usize = 32;
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("name a tokenizer.json")?)?;
    let max_length = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let options = TokenizerOptions {
        max_length,
        ..TokenizerOptions::default()
    };
    let ours = Tokenizer::parse(&file, options)?;
    let mut bare = tokenizers::Tokenizer::from_bytes(&file).map_err(|error| error.to_string())?;
    let truncation = TruncationParams {
        max_length,
        ..TruncationParams::default()
    };
    let padding = PaddingParams {
        pad_id: bare.token_to_id("[PAD]").unwrap_or_default(),
        ..PaddingParams::default()
    };
    bare.with_truncation(Some(truncation))
        .map_err(|error| error.to_string())?;
    bare.with_padding(Some(padding));
    set_parallelism(false);

    let texts: Vec<String> = (0..BATCH).map(sentence).collect();
    let run_ours = || {
        let rows = texts.iter().map(|text| TextInput::from(text.as_str()));
        black_box(ours.encode(rows).expect("the texts are short"));
    };
    let run_bare = || {
        let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
        black_box(
            bare.encode_batch_fast(rows, true)
                .expect("the texts are short"),
        );
    };
    // Both in turns, so that a change of the clock rate meets both.
    let mut ratios = Vec::with_capacity(ROUNDS);
    let mut rates = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (ours, bare) = (rate(run_ours), rate(run_bare));
        rates.push(ours);
        ratios.push(ours / bare);
    }
    println!(
        "{:.0} texts a second, {:.2} of the bare crate (batches of {BATCH}, one thread)",
        median(rates),
        median(ratios)
    );
    Ok(())
}

/// A sentence of 5 to 60 words.
fn sentence(at: usize) -> String {
    const WORDS: [&str; 12] = [
        "the",
        "server",
        "answers",
        "unbelievably",
        "quick",
        "requests",
        "café",
        "tokenization",
        "of",
        "sentences,",
        "42",
        "embeddings.",
    ];
    let count = 5 + at * 55 / BATCH;
    let words = (0..count).map(|word| WORDS[(word * 7 + at * 5) % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

/// Texts a second.
fn rate(run: impl Fn()) -> f64 {
    let begin = Instant::now();
    let mut batches = 0;
    while begin.elapsed() < ROUND {
        run();
        batches += 1;
    }
    (batches * BATCH) as f64 / begin.elapsed().as_secs_f64()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
