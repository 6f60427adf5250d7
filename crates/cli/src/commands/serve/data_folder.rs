//! The data folder has keys, states and the audit log: it is for the user of the server alone.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tracing::warn;

/// The database in the folder, and what SQLite keeps beside it.
const DATABASE: [&str; 3] = ["registry.db", "registry.db-wal", "registry.db-shm"];
/// The permissions of group and others.
const OTHERS: u32 = 0o077;
/// Set for folders that all users share, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Makes the folder if there is none.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes the permissions of others away from a folder of an earlier build. One that is not this user's,
/// that all users share, or that no server has used, stays as it is.
pub(super) fn narrow(folder: &Path) {
    let is_used = ["lock", "registry.db"]
        .iter()
        .any(|file| folder.join(file).exists());
    if !is_used {
        return;
    }
    narrow_one(folder);
    for file in DATABASE {
        narrow_one(&folder.join(file));
    }
}

fn narrow_one(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if !is_too_wide(&metadata) {
        return;
    }
    let mode = metadata.mode() & 0o7777 & !OTHERS;
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => warn!(path = %path.display(), "other users could read this: no longer"),
        Err(error) => warn!(path = %path.display(), %error, "other users can read this"),
    }
}

fn is_too_wide(metadata: &Metadata) -> bool {
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    let is_shared = metadata.mode() & STICKY != 0;
    is_own && !is_shared && !metadata.is_symlink() && metadata.mode() & OTHERS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_folder_is_private_and_an_old_one_becomes_so() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/data");
        make(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let database = folder.join("registry.db");
        fs::write(&database, "").unwrap();
        fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        narrow(&folder);
        assert_eq!((mode(&folder), mode(&database)), (0o700, 0o600));
    }

    #[test]
    fn folders_of_others_keep_their_permissions() {
        let root = tempfile::tempdir().unwrap();
        for (file, before) in [("notes", 0o755), ("registry.db", 0o1777)] {
            let folder = root.path().join(file);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(before)).unwrap();
            narrow(&folder);
            assert_eq!(mode(&folder), before);
        }
    }
}
