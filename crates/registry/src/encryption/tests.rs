use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

fn key_file(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    crate::generate_key(&file).unwrap();
    file
}

fn config(file: &std::path::Path) -> EncryptionConfig {
    EncryptionConfig {
        key_file: Some(file.to_owned()),
        ..EncryptionConfig::default()
    }
}

#[tokio::test]
async fn a_data_key_opens_with_its_key_only_and_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (
        key_file(folder.path(), "old"),
        key_file(folder.path(), "new"),
    );
    let digest = Digest::of(b"content");
    let before = Keyring::open(&config(&old)).unwrap();
    let (cipher, envelope) = before.seal(&digest).await.unwrap().unwrap();
    let sealed = cipher.seal(0, b"content", true).unwrap();

    let wrong = Keyring::open(&config(&new)).unwrap();
    assert_eq!(
        wrong
            .open_envelope(&envelope, &digest)
            .await
            .err()
            .unwrap()
            .code,
        ErrorCode::WrongKey
    );
    let other = before.open_envelope(&envelope, &Digest::of(b"other")).await;
    assert_eq!(
        other.err().unwrap().code,
        ErrorCode::EnvelopeCorrupt,
        "an envelope belongs to one object"
    );

    let both = EncryptionConfig {
        previous_keys: vec![old],
        ..config(&new)
    };
    let both = Keyring::open(&both).unwrap();
    let renewed = both.rewrap(&envelope, &digest).await.unwrap().unwrap();
    assert!(
        both.rewrap(&renewed, &digest).await.unwrap().is_none(),
        "once is enough"
    );
    let cipher = wrong.open_envelope(&renewed, &digest).await.unwrap();
    let chunks = &sealed[..sealed.len() - TRAILER];
    assert_eq!(cipher.open(0, chunks, true).unwrap(), b"content");
}

#[tokio::test]
async fn a_command_can_hold_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    // Turns the digits around: enough to see both directions.
    std::fs::write(
        &hook,
        "#!/bin/sh\n[ \"$2\" = wrap ] || [ \"$2\" = unwrap ] || exit 3\nrev\n",
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = |argument: &str| vec![hook.display().to_string(), argument.to_owned()];
    let named = EncryptionConfig {
        key_command: command("x"),
        key_id: Some("kms".to_owned()),
        ..Default::default()
    };
    let keyring = Keyring::open(&named).unwrap();
    let digest = Digest::of(b"content");
    let (cipher, envelope) = keyring.seal(&digest).await.unwrap().unwrap();
    assert!(envelope.contains("\"kms\""));
    let sealed = cipher.seal(0, b"content", true).unwrap();
    let cipher = keyring.open_envelope(&envelope, &digest).await.unwrap();
    assert_eq!(
        cipher
            .open(0, &sealed[..sealed.len() - TRAILER], true)
            .unwrap(),
        b"content"
    );

    let failing = EncryptionConfig {
        key_command: vec!["false".to_owned()],
        ..named.clone()
    };
    let error = Keyring::open(&failing)
        .unwrap()
        .seal(&digest)
        .await
        .err()
        .unwrap();
    assert_eq!(error.code, ErrorCode::KeyUnavailable);
    assert!(
        error.message.contains("it ended with exit status: 1"),
        "{error}"
    );
    let nameless = EncryptionConfig {
        key_id: None,
        ..named
    };
    assert_eq!(
        Keyring::open(&nameless).unwrap_err().code,
        ErrorCode::InvalidConfig
    );
}

#[test]
fn keys_that_are_none_are_refused_without_being_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "5ec4e7").unwrap();
    let error = Keyring::open(&config(&file)).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidKey);
    assert!(!error.message.contains("5ec4e7"), "{error}");
    let both = EncryptionConfig {
        key_env: Some("X".to_owned()),
        ..config(&file)
    };
    assert_eq!(
        Keyring::open(&both).unwrap_err().code,
        ErrorCode::InvalidConfig
    );
}

fn cipher() -> Cipher {
    Cipher::new(&[7; 32], &[9; 7], &Digest::of(b"name"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Sealed in parts and opened in other parts, the bytes are the same, and their number is as
    /// computed.
    #[test]
    fn parts_may_be_cut_at_any_chunk(length in 0usize..CHUNK * 5, seal_at in 0usize..5, open_at in 0usize..5) {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let cut = |bytes: usize, size: usize, at: usize| (at * size).min((bytes.div_ceil(size).max(1) - 1) * size);
        let at = cut(length, CHUNK, seal_at);
        let mut sealed = cipher().seal(0, &plain[..at], false).unwrap();
        sealed.extend(cipher().seal((at / CHUNK) as u64, &plain[at..], true).unwrap());
        prop_assert_eq!(sealed.len() as u64, stored_length(length as u64));
        let trailer = sealed.split_off(sealed.len() - TRAILER);
        prop_assert_eq!(Cipher::trailer(&trailer), Some(Digest::of(b"name").hex()));
        let at = cut(sealed.len(), CHUNK + 16, open_at);
        let mut opened = cipher().open(0, &sealed[..at], false).unwrap();
        opened.extend(cipher().open((at / (CHUNK + 16)) as u64, &sealed[at..], true).unwrap());
        prop_assert_eq!(opened, plain);
    }

    #[test]
    fn a_flipped_bit_is_found(length in 1usize..CHUNK * 2, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut sealed = cipher().seal(0, &vec![1; length], true).unwrap();
        sealed.truncate(sealed.len() - TRAILER);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(cipher().open(0, &sealed, true).unwrap_err().chunk, (at / (CHUNK + 16)) as u64);
    }

    #[test]
    fn a_cut_end_is_found(chunks in 1usize..4) {
        let sealed = cipher().seal(0, &vec![1; CHUNK * 4], true).unwrap();
        let cut = &sealed[..chunks * (CHUNK + 16)];
        prop_assert!(cipher().open(0, cut, true).is_err());
    }
}
