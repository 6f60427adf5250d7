//! Images, from their bytes to the numbers of a model.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::image(bytes);
});
