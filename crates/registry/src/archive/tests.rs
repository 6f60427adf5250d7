use proptest::prelude::*;

use super::import::unpack;
use super::*;
use crate::bundle::BundleLimits;
use crate::push::digest_of;
use crate::{Digest, ErrorCode};

/// An archive with one version of one file, and what else is asked for.
struct Made {
    version: VersionRecord,
    files: Vec<VersionFile>,
    entries: Vec<(String, Vec<u8>)>,
}

fn made() -> Made {
    let content = b"schema = 1".to_vec();
    let digest = Digest::of(&content).hex();
    let files = vec![VersionFile {
        path: "model.toml".to_owned(),
        digest: digest.clone(),
        bytes: 10,
    }];
    let version = VersionRecord {
        model: "fraud".to_owned(),
        number: 7,
        digest: digest_of(&files),
        state: tidegate_store::VersionState::Ready,
        reason: String::new(),
        manifest: Default::default(),
        bytes: 10,
        pushed_by: String::new(),
        pushed_ms: 0,
    };
    Made {
        version,
        files,
        entries: vec![(format!("{CONTENTS}{digest}"), content)],
    }
}

impl Made {
    fn tar(&self) -> Vec<u8> {
        let listed = Listed {
            version: self.version.clone(),
            files: self.files.clone(),
            signatures: Vec::new(),
            aliases: Vec::new(),
        };
        let list = serde_json::to_vec(&List {
            schema: SCHEMA,
            versions: vec![listed],
        })
        .unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in [(LIST.to_owned(), list)].iter().chain(&self.entries) {
            let mut header = tar::Header::new_ustar();
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            tar.append(&header, content.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn unpacked(&self) -> Result<(), ErrorCode> {
        read(
            &zstd::encode_all(self.tar().as_slice(), 1).unwrap(),
            &BundleLimits::default(),
        )
    }
}

fn read(bytes: &[u8], limits: &BundleLimits) -> Result<(), ErrorCode> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    std::fs::write(&file, bytes).unwrap();
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let outcome = unpack(&file, &place, limits)
        .map(|_| ())
        .map_err(|error| error.code);
    // Whatever it was, nothing stands beside the place.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    outcome
}

#[test]
fn what_is_sound_is_unpacked() {
    made().unpacked().unwrap();
}

#[test]
fn each_lie_is_refused() {
    let code = |change: fn(&mut Made)| {
        let mut made = made();
        change(&mut made);
        made.unpacked().unwrap_err()
    };
    let again = |made: &mut Made| made.version.digest = digest_of(&made.files);
    assert_eq!(
        code(|made| made.entries[0].1[0] ^= 1),
        ErrorCode::ObjectCorrupt
    );
    assert_eq!(
        code(|made| made.entries[0].1.push(0)),
        ErrorCode::InvalidArchive
    );
    assert_eq!(code(|made| made.entries.clear()), ErrorCode::InvalidArchive);
    assert_eq!(
        code(|made| made.entries.push(("contents/../../x".to_owned(), vec![1]))),
        ErrorCode::InvalidArchive
    );
    assert_eq!(
        code(|made| made.entries.push(("/etc/x".to_owned(), vec![1]))),
        ErrorCode::InvalidArchive
    );
    assert_eq!(
        code(|made| made.entries.push(made.entries[0].clone())),
        ErrorCode::InvalidArchive
    );
    assert_eq!(
        code(|made| made.files[0].path = "other.toml".to_owned()),
        ErrorCode::ManifestCorrupt
    );
    assert_eq!(
        code(|made| made.version.model = "../x".to_owned()),
        ErrorCode::InvalidArchive
    );
    assert_eq!(
        code(|made| made.version.number = 0),
        ErrorCode::InvalidArchive
    );
    let mut escaping = made();
    escaping.files[0].path = "../../x".to_owned();
    again(&mut escaping);
    assert_eq!(escaping.unpacked().unwrap_err(), ErrorCode::UnsafePath);
    let mut huge = made();
    huge.files[0].bytes = 1 << 50;
    again(&mut huge);
    assert_eq!(huge.unpacked().unwrap_err(), ErrorCode::TooLarge);
}

#[test]
fn a_bomb_does_not_go_off() {
    // 8 GiB of zeros in some hundred kilobytes, as the first entry and as an entry that is not in
    // the list.
    let bomb = |name: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_size(8 << 30);
        header.set_cksum();
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0), 64 << 20),
            &mut encoder,
        )
        .unwrap();
        encoder.finish().unwrap()
    };
    let limits = BundleLimits::default();
    assert_eq!(read(&bomb(LIST), &limits).unwrap_err(), ErrorCode::TooLarge);
    assert_eq!(
        read(&bomb("other"), &limits).unwrap_err(),
        ErrorCode::InvalidArchive
    );
    assert_eq!(read(b"", &limits).unwrap_err(), ErrorCode::InvalidArchive);
}

#[test]
fn a_long_name_is_not_read_into_memory() {
    let mut made = made();
    made.entries[0].0 = "././@LongLink".to_owned();
    let mut tar = made.tar();
    // The second header's type becomes GNU's long name.
    let list = u64::from_str_radix(std::str::from_utf8(&tar[124..135]).unwrap(), 8).unwrap();
    let second = 512 + usize::try_from(list.next_multiple_of(512)).unwrap();
    tar[second + 156] = b'L';
    let header: &mut [u8; 512] = (&mut tar[second..second + 512]).try_into().unwrap();
    let mut fixed = tar::Header::from_byte_slice(header).clone();
    fixed.set_cksum();
    tar[second..second + 512].copy_from_slice(fixed.as_bytes());
    let packed = zstd::encode_all(tar.as_slice(), 1).unwrap();
    assert_eq!(
        read(&packed, &BundleLimits::default()).unwrap_err(),
        ErrorCode::InvalidArchive
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Any change of a byte is refused, or does not matter; never does it write elsewhere or panic.
    #[test]
    fn no_changed_byte_causes_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut tar = made().tar();
        let at = at.index(tar.len());
        tar[at] = byte;
        let _ = read(&zstd::encode_all(tar.as_slice(), 1).unwrap(), &BundleLimits::default());
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&bytes, &BundleLimits::default()).is_err());
        let packed = zstd::encode_all(bytes.as_slice(), 1).unwrap();
        prop_assert!(read(&packed, &BundleLimits::default()).is_err());
    }
}
