//! Which variable wins.

use super::*;

fn of(xdg: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
    folder_from(xdg.map(OsString::from), home.map(OsString::from), ".config")
}

#[test]
fn xdg_folder_wins_over_home() {
    let path = of(Some("/x"), Some("/home/ada"));
    assert_eq!(path, Some(PathBuf::from("/x/rapidpath")));
}

#[test]
fn unset_empty_or_relative_xdg_folder_means_dot_config() {
    for xdg in [None, Some(""), Some("x")] {
        let path = of(xdg, Some("/home/ada"));
        assert_eq!(path, Some(PathBuf::from("/home/ada/.config/rapidpath")));
    }
}

#[test]
fn without_a_home_there_is_no_folder() {
    assert_eq!(of(None, None), None);
}

#[test]
fn parent_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a/b/file");
    make_parent(&file).unwrap();
    make_parent(&file).unwrap();
    let mode = file
        .parent()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}
