//! Sounds, from their bytes to samples and a spectrogram.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::sound(bytes);
});
