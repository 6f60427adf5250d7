//! JSON bodies with binary data behind.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::infer_binary(bytes);
});
