//! Modes that pass and modes that do not.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn file(mode: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "text").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
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
