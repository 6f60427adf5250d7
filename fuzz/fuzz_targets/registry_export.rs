//! Exports of the registry: an archive of versions that somebody else made.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    tidegate_registry::fuzzing::export(bytes, folder.path());
});
