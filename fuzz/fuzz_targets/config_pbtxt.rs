//! `config.pbtxt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tidegate_server::fuzzing::config_pbtxt(bytes);
});
