use proptest::prelude::*;

use super::*;

fn bundle(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join("fraud").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Bundle> {
    Bundle::open(&folder.path().join("fraud"), None, &BundleLimits::default())
}

fn refused(files: &[(&str, &str)]) -> Error {
    open(&bundle(files)).unwrap_err()
}

#[test]
fn a_folder_is_read_without_hidden_files() {
    let folder = bundle(&[
        ("model.toml", ""),
        ("model.onnx", "x"),
        ("a/b.json", "{}"),
        (".git/config", "secret"),
    ]);
    let bundle = open(&folder).unwrap();
    assert_eq!(bundle.name().as_str(), "fraud");
    let paths: Vec<&str> = bundle
        .files()
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(paths, ["a/b.json", "model.onnx", "model.toml"]);
}

#[test]
fn a_bare_artifact_gets_a_manifest() {
    let folder = bundle(&[("net.onnx", "x")]);
    let artifact = folder.path().join("fraud/net.onnx");
    let bundle = Bundle::open(&artifact, None, &BundleLimits::default()).unwrap();
    assert_eq!(
        (bundle.name().as_str(), bundle.manifest().artifact.as_str()),
        ("net", "net.onnx")
    );
    let named = Bundle::open(&artifact, Some("fraud"), &BundleLimits::default()).unwrap();
    let Source::Bytes(text) = &named.files()[0].source else {
        panic!("the manifest is made here")
    };
    assert_eq!(
        parse(std::str::from_utf8(text).unwrap(), "here")
            .unwrap()
            .name,
        "fraud"
    );
    let other =
        Bundle::open(&folder.path().join("fraud"), None, &BundleLimits::default()).unwrap_err();
    assert_eq!(other.code, ErrorCode::InvalidBundle);
}

#[test]
fn what_the_manifest_says_is_held_against_the_folder() {
    let missing = refused(&[("model.toml", "baseline = 'b.json'"), ("model.onnx", "x")]);
    assert_eq!(
        missing.message,
        "file \"b.json\" is named in model.toml but not in the bundle"
    );
    let misspelt = refused(&[("model.toml", "artefact = 'x'"), ("model.onnx", "x")]);
    assert!(
        misspelt.message.contains("unknown field `artefact`"),
        "{misspelt}"
    );
    let newer = refused(&[("model.toml", "schema = 2"), ("model.onnx", "x")]);
    assert!(newer.message.contains("schema 2 is not known"), "{newer}");
    let name = refused(&[("model.toml", "name = '../x'"), ("model.onnx", "x")]);
    assert!(name.message.contains("is not a model name"), "{name}");
    for named in [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../model.onnx",
        "C:model.onnx",
    ] {
        let error = refused(&[
            ("model.toml", &format!("artifact = '{named}'")),
            ("model.onnx", "x"),
        ]);
        assert_eq!(error.code, ErrorCode::UnsafePath, "{error}");
    }
}

#[test]
fn links_and_special_files_are_refused() {
    let folder = bundle(&[("model.toml", ""), ("model.onnx", "x")]);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("fraud/labels.txt")).unwrap();
    let error = open(&folder).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsafePath);
    assert!(
        error.message.ends_with("labels.txt is a symbolic link"),
        "{error}"
    );

    let folder = bundle(&[("model.toml", ""), ("model.onnx", "x")]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("fraud/loop")).unwrap();
    assert_eq!(open(&folder).unwrap_err().code, ErrorCode::UnsafePath);

    let folder = bundle(&[("model.toml", ""), ("model.onnx", "x")]);
    std::os::unix::net::UnixListener::bind(folder.path().join("fraud/socket")).unwrap();
    assert_eq!(open(&folder).unwrap_err().code, ErrorCode::UnsafePath);
}

#[test]
fn limits_hold() {
    let deep = "d/".repeat(20) + "x";
    assert_eq!(
        refused(&[("model.toml", ""), ("model.onnx", "x"), (&deep, "x")]).code,
        ErrorCode::TooLarge
    );
    let folder = bundle(&[("model.toml", ""), ("model.onnx", "xx"), ("a", "x")]);
    let open = |limits: BundleLimits| Bundle::open(&folder.path().join("fraud"), None, &limits);
    assert_eq!(
        open(BundleLimits {
            max_files: 2,
            ..Default::default()
        })
        .unwrap_err()
        .code,
        ErrorCode::TooLarge
    );
    assert_eq!(
        open(BundleLimits {
            max_bytes: 2,
            ..Default::default()
        })
        .unwrap_err()
        .code,
        ErrorCode::TooLarge
    );
    open(BundleLimits {
        max_files: 3,
        max_bytes: 3,
        ..Default::default()
    })
    .unwrap();
}

#[test]
fn a_manifest_of_a_hundred_megabytes_is_not_read() {
    let folder = bundle(&[("model.onnx", "x"), ("model.toml", "")]);
    // Sparse: it takes no space, and would take the memory.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("fraud/model.toml"))
        .unwrap();
    file.set_len(100 << 20).unwrap();
    let error = open(&folder).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(
        error.message.contains("model.toml has more than"),
        "{error}"
    );
}

#[test]
fn fixed_digests_are_checked() {
    let digest = Digest::of(b"x").hex();
    let fixed = |sha256: &str, bytes: u64| {
        let toml = format!("[[files]]\npath = 'model.onnx'\nsha256 = '{sha256}'\nbytes = {bytes}");
        open(&bundle(&[("model.toml", &toml), ("model.onnx", "x")])).unwrap()
    };
    let found = [("model.onnx".to_owned(), 1, Digest::of(b"x"))];
    fixed(&digest, 1).check_fixed(&found).unwrap();
    assert_eq!(
        fixed(&digest, 2).check_fixed(&found).unwrap_err().code,
        ErrorCode::FileMismatch
    );
    let other = Digest::of(b"y").to_string();
    let error = fixed(&other, 1).check_fixed(&found).unwrap_err();
    assert!(
        error.message.contains(&other) && error.message.contains(&digest),
        "{error}"
    );
}

#[test]
fn files_that_some_system_takes_for_one_are_refused() {
    let check = |paths: &[&str]| {
        check_files(
            paths.iter().map(|path| (*path, 1)),
            &BundleLimits::default(),
        )
    };
    check(&["a", "b/a", "b/c"]).unwrap();
    for paths in [["a", "A"], ["a", "a"], ["a", "a/b"]] {
        assert_eq!(
            check(&paths).unwrap_err().code,
            ErrorCode::UnsafePath,
            "{paths:?}"
        );
    }
}

proptest! {
    /// Whatever a path says, once it is accepted it stays below the folder that it is joined to.
    #[test]
    fn accepted_paths_stay_inside(path in r"[a-z./\\: ~\x00-\x1f]{0,40}") {
        if check_path(&path, &BundleLimits::default()).is_ok() {
            let joined = Path::new("/root").join(&path);
            prop_assert!(joined.starts_with("/root"));
            prop_assert!(joined.components().skip(2).all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }

    #[test]
    fn any_manifest_is_read_or_refused(text in "(?s).{0,400}") {
        let _ = parse(&text, "here");
    }
}
