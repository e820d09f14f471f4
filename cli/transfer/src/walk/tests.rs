//! Where a walk does not go, and what is not told of a file.

use std::path::Path;

use super::*;

#[test]
fn other_file_systems_are_told_of_and_not_gone_into() {
    //= spec/20-copy.md#lists
    //= type=test
    //# A server that is sent *one-file-system* MUST NOT go into a folder on which another file system is
    //# mounted, and tells of it with *mount*.
    let device = |path: &str| rustix::fs::stat(path).map(|stat| stat.st_dev);
    if device("/dev").is_err() || device("/dev") == device("/dev/pts") {
        eprintln!("skipped: nothing is mounted in /dev");
        return;
    }
    let walk = |one_file_system| {
        let root = Arc::new(Root::open(Path::new("/dev")).unwrap());
        let options = WalkOptions {
            depth: Depth::All,
            links: Links::Keep,
            one_file_system,
            ..WalkOptions::default()
        };
        let walk = Walk::new(root, RemotePath::parse(b"").unwrap(), options);
        walk.filter_map(Result::ok)
            .filter(|entry| entry.path.starts_with(b"pts"))
            .collect::<Vec<_>>()
    };
    let told = walk(true);
    assert_eq!(told.len(), 1);
    assert!(told[0].is_mount);
    let told = walk(false);
    assert!(told.iter().all(|entry| !entry.is_mount));
    // At least /dev/pts/ptmx.
    assert!(told.len() > 1, "{told:?}");
}

#[test]
fn set_user_id_is_told_of_roots_files_only() {
    //= spec/20-copy.md#files
    //= type=test
    //# A sender MUST NOT tell of set-user-id where a file is not root's, nor of set-group-id where its group is
    //# not root's.
    for (owners, told) in [
        ((0, 0), 0o7755),
        ((1, 0), 0o3755),
        ((0, 1), 0o5755),
        ((1, 1), 0o1755),
    ] {
        assert_eq!(told_mode(0o107_755, owners), told);
    }
}
