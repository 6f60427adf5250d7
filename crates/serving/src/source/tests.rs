use std::fs;

use tempfile::TempDir;

use super::*;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/models")
        .join(name)
}

/// A Triton model called `digits` with these versions and configuration.
fn triton(versions: &[&str], config: Option<&str>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("digits");
    for version in versions {
        fs::create_dir_all(model.join(version)).unwrap();
        fs::copy(
            example("digits/model.onnx"),
            model.join(version).join("model.onnx"),
        )
        .unwrap();
    }
    if let Some(config) = config {
        fs::write(model.join("config.pbtxt"), config).unwrap();
    }
    root
}

fn numbers(root: &TempDir) -> Result<Vec<u64>, String> {
    let found = find(root.path()).map_err(|error| error.to_string())?;
    assert_eq!(found.len(), 1);
    let versions = found
        .into_iter()
        .next()
        .unwrap()
        .versions
        .map_err(|error| error.to_string())?;
    Ok(versions.iter().map(|plan| plan.number).collect())
}

#[test]
fn a_folder_of_bundles_is_a_model_each() {
    let names: Vec<String> = find(&example(""))
        .unwrap()
        .into_iter()
        .map(|model| model.name)
        .collect();
    assert_eq!(names, ["digits", "fraud", "language"]);
    let digits = scan(&example("digits")).unwrap();
    assert_eq!(digits[0].1[0].labels["probabilities"].len(), 10);
}

#[test]
fn a_bare_file_is_named_after_itself() {
    let found = scan(&example("digits/model.onnx")).unwrap();
    assert_eq!((found[0].0.as_str(), found[0].1[0].number), ("model", 1));
}

#[test]
fn version_policies_choose_versions() {
    assert_eq!(
        numbers(&triton(&["1", "3", "2", "junk", "04"], None)),
        Ok(vec![3])
    );
    let with = |policy: &str| numbers(&triton(&["1", "2", "10"], Some(policy)));
    assert_eq!(with("version_policy { all {} }"), Ok(vec![1, 2, 10]));
    assert_eq!(
        with("version_policy { latest { num_versions: 2 } }"),
        Ok(vec![2, 10])
    );
    assert_eq!(
        with("version_policy { specific { versions: [1, 10] } }"),
        Ok(vec![1, 10])
    );
    assert!(
        with("version_policy { specific { versions: 4 } }")
            .unwrap_err()
            .contains("version 4")
    );
}

#[test]
fn triton_settings_become_ours() {
    let config = r#"
        max_batch_size: 16
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 priority_levels: 2
            default_priority_level: 2 default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 9 } }
        instance_group [ { count: 3 } ]
    "#;
    let found = scan(triton(&["1"], Some(config)).path()).unwrap();
    let manifest = &found[0].1[0].manifest;
    assert_eq!(manifest.engine_options.instances, Some(3));
    let batching = &manifest.batching;
    assert_eq!(batching.max_batch_size, Some(16));
    assert_eq!(batching.preferred_batch_sizes, [4, 8]);
    assert_eq!(
        (batching.max_queue_delay_us, batching.max_queue_requests),
        (100, 7)
    );
    assert_eq!(
        (
            batching.priority_levels,
            batching.default_priority,
            batching.default_timeout_us
        ),
        (2, 2, 9)
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let iterative = "sequence_batching { iterative_sequence: true }";
    let error = numbers(&triton(&["1"], Some(iterative))).unwrap_err();
    assert!(
        error.contains("config.pbtxt") && error.contains("sequence_batching.iterative_sequence"),
        "{error}"
    );
    let error = numbers(&triton(&["1"], Some("name: \"other\""))).unwrap_err();
    assert!(
        error.contains("other") && error.contains("digits"),
        "{error}"
    );
}

#[test]
fn a_bundle_cannot_reach_outside_of_itself() {
    let root = tempfile::tempdir().unwrap();
    let bundle = root.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    fs::copy(
        example("digits/model.onnx"),
        root.path().join("secret.onnx"),
    )
    .unwrap();
    let read = |artifact: &str| {
        fs::write(
            bundle.join("model.toml"),
            format!("artifact = {artifact:?}"),
        )
        .unwrap();
        scan(&bundle).unwrap_err().to_string()
    };
    assert!(read("../secret.onnx").contains("outside"));
    std::os::unix::fs::symlink(root.path().join("secret.onnx"), bundle.join("link.onnx")).unwrap();
    assert!(read("link.onnx").contains("outside"));
    assert!(read("missing.onnx").contains("cannot be read"));
    fs::write(bundle.join("model.toml"), "name = \"x\"\n nam = \"x\"").unwrap();
    let problem = scan(&bundle).unwrap_err().to_string();
    let wanted = "model.toml: line 2, column 2: unknown field `nam`";
    assert!(
        problem.contains(wanted) && !problem.contains('\n'),
        "{problem}"
    );
}

#[test]
fn a_bundle_may_link_into_the_store_of_a_hub_cache() {
    let root = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (root.path().join("blobs"), root.path().join("snapshots/1"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::copy(example("digits/model.onnx"), blobs.join("aaa")).unwrap();
    fs::write(snapshot.join("model.toml"), "name = \"a\"").unwrap();
    std::os::unix::fs::symlink("../../blobs/aaa", snapshot.join("model.onnx")).unwrap();
    let found = scan(&snapshot).unwrap();
    assert_eq!(found[0].1[0].artifact, snapshot.join("model.onnx"));
}

#[test]
fn a_model_of_triton_may_be_a_link_or_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let version = root.path().join("models/big/1");
    fs::create_dir_all(version.join("model.onnx")).unwrap();
    let real = root.path().join("elsewhere.onnx");
    fs::copy(example("digits/model.onnx"), &real).unwrap();
    std::os::unix::fs::symlink(&real, version.join("model.onnx/model.onnx")).unwrap();
    fs::create_dir_all(root.path().join("models/linked/1")).unwrap();
    std::os::unix::fs::symlink(&real, root.path().join("models/linked/1/model.onnx")).unwrap();
    fs::write(
        root.path().join("models/linked/config.pbtxt"),
        "max_batch_size: 4",
    )
    .unwrap();
    let found = scan(&root.path().join("models")).unwrap();
    let plans: Vec<(&str, &str)> = found
        .iter()
        .map(|(name, plans)| (name.as_str(), plans[0].manifest.artifact.as_str()))
        .collect();
    assert_eq!(
        plans,
        [("big", "model.onnx/model.onnx"), ("linked", "model.onnx")]
    );
    assert_eq!(
        found[0].1[0].artifact,
        version.join("model.onnx/model.onnx")
    );
}

#[test]
fn what_cannot_be_the_name_of_a_model_keeps_no_neighbour_from_being_found() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a b.onnx", "good.onnx"] {
        fs::copy(example("digits/model.onnx"), root.path().join(name)).unwrap();
    }
    fs::create_dir(root.path().join("c d")).unwrap();
    fs::copy(
        example("digits/model.onnx"),
        root.path().join("c d/model.onnx"),
    )
    .unwrap();
    let found = find(root.path()).unwrap();
    let found: Vec<(&str, bool)> = found
        .iter()
        .map(|model| (model.name.as_str(), model.versions.is_ok()))
        .collect();
    assert_eq!(found, [("a b", false), ("c d", false), ("good", true)]);
}

#[test]
fn the_name_of_a_linked_folder_is_that_of_the_link() {
    let root = tempfile::tempdir().unwrap();
    let real = triton(&["1"], None);
    std::os::unix::fs::symlink(real.path().join("digits"), root.path().join("linked")).unwrap();
    assert_eq!(scan(root.path()).unwrap()[0].0, "linked");
}

#[test]
fn names_that_do_not_fit_a_url_are_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::copy(example("digits/model.onnx"), root.path().join("a b.onnx")).unwrap();
    let error = find(&root.path().join("a b.onnx")).unwrap_err().to_string();
    assert!(error.contains("model name"), "{error}");
}

#[test]
fn an_empty_folder_says_what_was_expected() {
    let root = tempfile::tempdir().unwrap();
    assert!(
        find(root.path())
            .unwrap_err()
            .to_string()
            .contains("model.toml")
    );
}
