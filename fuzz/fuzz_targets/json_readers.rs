//! JSON bodies, by both readers of numbers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::json_readers(bytes);
});
