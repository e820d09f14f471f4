//! Modes that pass and modes that do not.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
};

use super::*;

fn file(mode: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "text").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn secret_is_read_only_when_nobody_else_can() {
    for mode in [0o600, 0o400, 0o700] {
        let (bytes, _) = read(file(mode).path(), Guard::Secret).unwrap();
        assert_eq!(&bytes[..], b"text");
    }
    for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
        let error = read(file(mode).path(), Guard::Secret).unwrap_err();
        assert!(
            matches!(error, GuardError::Exposed { mode: m } if m == mode),
            "{error}"
        );
    }
}

#[test]
fn trusted_list_is_read_only_when_nobody_else_can_change_it() {
    for mode in [0o600, 0o644, 0o444] {
        read(file(mode).path(), Guard::Trusted).unwrap();
    }
    for mode in [0o660, 0o606, 0o666] {
        let error = read(file(mode).path(), Guard::Trusted).unwrap_err();
        assert!(
            matches!(error, GuardError::Writable { mode: m } if m == mode),
            "{error}"
        );
    }
}

#[test]
fn file_without_end_is_not_read_into_memory() {
    let error = read(Path::new("/dev/zero"), Guard::Trusted).unwrap_err();
    // The device is writable by all, which is found first.
    assert!(matches!(error, GuardError::Writable { .. }), "{error}");

    let file = file(0o600);
    file.as_file().set_len(MAX_LEN + 1).unwrap();
    let error = read(file.path(), Guard::Secret).unwrap_err();
    assert!(matches!(error, GuardError::TooLong), "{error}");
}

/// A folder of mode `mode` in a folder of our own, and the latter.
fn folder(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(folder.join("below")).unwrap();
    fs::write(folder.join("below/file"), "text").unwrap();
    fs::set_permissions(folder.join("below"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.join("below/file"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    (above, folder)
}

#[test]
fn passwords_may_be_shared_with_a_group_and_not_with_everybody() {
    for mode in [0o600, 0o640, 0o400] {
        read(file(mode).path(), Guard::Passwords).unwrap();
    }
    for mode in [0o644, 0o604, 0o444] {
        let error = read(file(mode).path(), Guard::Passwords).unwrap_err();
        assert!(
            matches!(error, GuardError::Readable { mode: m } if m == mode),
            "{error}"
        );
    }
    let error = read(file(0o660).path(), Guard::Passwords).unwrap_err();
    assert!(matches!(error, GuardError::Writable { .. }), "{error}");
}

#[test]
fn folder_above_that_others_can_change_is_named() {
    for guard in [Guard::Secret, Guard::Trusted, Guard::Passwords] {
        for mode in [0o700, 0o755, 0o1777, 0o1770] {
            let (_above, folder) = folder(mode);
            read(&folder.join("below/file"), guard).unwrap();
        }
        for mode in [0o777, 0o775, 0o770, 0o757] {
            let (_above, folder) = folder(mode);
            for way in ["below/file", "below/../below/./file"] {
                let error = read(&folder.join(way), guard).unwrap_err();
                assert!(
                    matches!(&error, GuardError::WritableFolder { path, mode: m }
                        if *path == folder && *m == mode),
                    "{mode:o} {error}"
                );
                let wanted = format!("chmod go-w {}", folder.display());
                assert!(error.to_string().ends_with(&wanted), "{error}");
            }
        }
    }
}

#[test]
fn link_counts_with_the_folder_it_is_in_and_what_it_leads_through() {
    let (safe, _) = folder(0o755);
    let (_open, open) = folder(0o777);
    let file = safe.path().join("folder/below/file");
    let is_open = |error: GuardError| matches!(error, GuardError::WritableFolder { path, .. } if path == open);
    // To a safe file from an open folder, to a file in an open folder from a safe one.
    symlink(&file, open.join("link")).unwrap();
    assert!(is_open(
        read(&open.join("link"), Guard::Secret).unwrap_err()
    ));
    symlink(open.join("below"), safe.path().join("way")).unwrap();
    let way = safe.path().join("way/file");
    assert!(is_open(read(&way, Guard::Secret).unwrap_err()));
    // Links that stay among safe folders, relative and absolute, to files and folders.
    symlink("folder/below", safe.path().join("relative")).unwrap();
    symlink(safe.path().join("relative"), safe.path().join("chain")).unwrap();
    symlink("../folder/below/file", safe.path().join("folder/up")).unwrap();
    for way in ["relative/file", "chain/file", "folder/up", "chain/../up"] {
        let (bytes, _) = read(&safe.path().join(way), Guard::Secret).unwrap();
        assert_eq!(&bytes[..], b"text", "{way}");
    }
    symlink("loop", safe.path().join("loop")).unwrap();
    let error = read(&safe.path().join("loop"), Guard::Secret).unwrap_err();
    assert!(matches!(error, GuardError::Io(_)), "{error}");
}

#[test]
fn folder_of_another_user_is_refused() {
    let (_above, folder) = folder(0o755);
    // Only root may give a folder away; for others, one of root's is as good as one of their own.
    if chown(&folder, Some(65534), None).is_err() {
        assert!(check_owner(Path::new("/"), &Path::new("/").metadata().unwrap()).is_ok());
        return;
    }
    let error = read(&folder.join("below/file"), Guard::Trusted).unwrap_err();
    assert!(
        matches!(&error, GuardError::ForeignFolder { path, uid: 65534 } if *path == folder),
        "{error}"
    );
}

#[test]
fn open_file_handed_over_by_a_shell_is_read() {
    let file = file(0o600);
    let number = std::os::fd::AsRawFd::as_raw_fd(file.as_file());
    for way in ["/dev/fd", "/proc/self/fd"] {
        let path = Path::new(way).join(number.to_string());
        let (bytes, _) = read(&path, Guard::Trusted).unwrap();
        assert_eq!(&bytes[..], b"text");
    }
}

#[test]
fn file_that_is_missing_is_told_from_one_that_is_not_to_be_trusted() {
    let (_above, folder) = folder(0o755);
    for way in ["missing", "below/missing/file"] {
        let error = read(&folder.join(way), Guard::Secret).unwrap_err();
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        assert!(
            matches!(&error, GuardError::Io(e) if is_missing(e)),
            "{error}"
        );
    }
}
