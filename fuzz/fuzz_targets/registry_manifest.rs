//! Manifests that are pushed, and the paths that they name.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    tidegate_registry::fuzzing::manifest(text);
});
