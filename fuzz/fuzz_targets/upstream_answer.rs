//! Answers of other inference servers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::upstream_answer(bytes);
});
