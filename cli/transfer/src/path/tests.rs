//! No spelling and no link leads out of a root.

use std::{
    fs,
    io::Read,
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::message::Status;

fn parse(path: &str) -> RemotePath {
    RemotePath::parse(path.as_bytes()).unwrap()
}

fn read(root: &Root, path: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut file = root.source(&parse(path))?;
    file.read_to_string(&mut text).unwrap();
    Ok(text)
}

/// A folder with a root that holds `sub/file`, and a `secret` beside that root.
fn tree() -> (TempDir, [Root; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("sub/file"), "ours").unwrap();
    fs::write(folder.path().join("secret"), "theirs").unwrap();
    let roots = [
        Root::open(&root).unwrap(),
        Root::open_walking(&root).unwrap(),
    ];
    (folder, roots)
}

#[test]
fn bad_spellings_are_refused_by_name() {
    let long_name = "n".repeat(256);
    let long_path = "n/".repeat(2049);
    //= spec/20-copy.md#paths
    //= type=test
    //# A path that begins with `/` MUST be refused.
    let cases = [
        ("/etc/passwd", PathError::Absolute),
        //= spec/20-copy.md#paths
        //= type=test
        //# A path with a component `..` MUST be refused.
        ("..", PathError::ParentFolder),
        ("a/../b", PathError::ParentFolder),
        ("a/..", PathError::ParentFolder),
        //= spec/20-copy.md#paths
        //= type=test
        //# A path with a control character MUST be refused.
        ("a\nb", PathError::ControlCharacter),
        ("a\0b", PathError::ControlCharacter),
        ("a\x1b[2Jb", PathError::ControlCharacter),
        ("a\u{9b}b", PathError::ControlCharacter),
        ("a\x7f", PathError::ControlCharacter),
        //= spec/20-copy.md#paths
        //= type=test
        //# A path longer than 4096 bytes, or with a component longer than 255 bytes, MUST be refused.
        (&long_name, PathError::NameTooLong),
        (&long_path, PathError::TooLong),
        //= spec/20-copy.md#paths
        //= type=test
        //# A path whose last component is a partial name (`.NAME.rp-partial`, `.NAME.rp-journal`) MUST be
        //# refused.
        ("a/.b.rp-partial", PathError::Partial),
    ];
    for (path, error) in cases {
        assert_eq!(RemotePath::parse(path.as_bytes()), Err(error), "{path:?}");
    }
}

#[test]
fn ordinary_names_are_taken_as_they_are() {
    for (path, name) in [
        ("a", "a"),
        ("a/b c", "b c"),
        ("a//./b", "b"),
        ("..a/b..", "b.."),
        ("...", "..."),
        ("grüße", "grüße"),
        ("%2e%2e", "%2e%2e"),
        ("a\\..\\b", "a\\..\\b"),
    ] {
        assert_eq!(parse(path).file_name(), Some(OsStr::new(name)), "{path}");
    }
    let latin1 = RemotePath::parse(b"gr\xfc\xdfe").unwrap();
    assert_eq!(latin1.file_name(), Some(OsStr::from_bytes(b"gr\xfc\xdfe")));
    for folder in ["", ".", "a/", "a/."] {
        assert!(parse(folder).is_folder(), "{folder:?}");
    }
}

#[test]
fn a_name_is_one_component() {
    assert_eq!(RemotePath::parse_name(b"file").unwrap(), "file");
    for bad in ["", "a/b", "..", "a/", ".", "a\nb", ".x.rp-partial"] {
        let error = RemotePath::parse_name(bad.as_bytes()).unwrap_err();
        assert_eq!(error.status(), Status::BadPath, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn an_accepted_path_never_has_a_parent_or_a_root(path in "[./a\\\\\u{0}-\u{20}é]{0,24}") {
        if let Ok(path) = RemotePath::parse(path.as_bytes()) {
            for component in &path.components {
                prop_assert!(!component.is_empty() && component != ".." && component != ".");
                prop_assert!(!component.as_bytes().contains(&b'/'));
            }
        }
    }

    #[test]
    fn partial_names_fit_and_differ(name in "[a-zé]{1,120}", other in "[a-zé]{1,120}") {
        let partial = partial_name(OsStr::new(&name));
        prop_assert!(partial.len() <= MAX_NAME && is_partial(&partial));
        if name != other {
            prop_assert_ne!(partial, partial_name(OsStr::new(&other)));
        }
    }
}

#[test]
fn files_inside_are_opened_and_links_outside_are_not() {
    //= spec/20-copy.md#paths
    //= type=test
    //# Opening a path MUST NOT leave the root, whatever symbolic links stand or are put in its way.
    let (folder, roots) = tree();
    let root = folder.path().join("root");
    symlink("../secret", root.join("up")).unwrap();
    symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    for opened in &roots {
        assert_eq!(read(opened, "sub/file").unwrap(), "ours");
        for path in ["up", "absolute", "parent/secret", "magic/etc/passwd"] {
            let error = read(opened, path).unwrap_err();
            assert_ne!(error.status(), Status::Ok, "{path}: {error}");
            let error = opened.destination(&parse(path), b"name").map(|_| ());
            assert!(error.is_err(), "{path}");
        }
        let error = opened.destination(&parse("sub/file/x"), b"").unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
        assert_eq!(
            read(opened, "sub/none").unwrap_err().status(),
            Status::NotFound
        );
        assert_eq!(read(opened, "sub").unwrap_err().status(), Status::NotAFile);
    }
}

#[test]
fn links_that_stay_inside_work_where_the_kernel_confines() {
    let (folder, [confined, walking]) = tree();
    let root = folder.path().join("root");
    symlink("sub/file", root.join("inner")).unwrap();
    if confined.kernel_confines() {
        assert_eq!(read(&confined, "inner").unwrap(), "ours");
    }
    let error = read(&walking, "inner").unwrap_err();
    assert_eq!(error.status(), Status::BadPath, "{error}");
}

#[test]
fn only_regular_files_are_served() {
    //= spec/20-copy.md#paths
    //= type=test
    //# A server MUST serve regular files only.
    let (folder, roots) = tree();
    let pipe = folder.path().join("root/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    for root in &roots {
        let error = root.source(&parse("pipe")).unwrap_err();
        assert_eq!(error.status(), Status::NotAFile);
        let error = root.destination(&parse("pipe"), b"").unwrap_err();
        assert_eq!(error.status(), Status::NotAFile);
    }
}

#[test]
fn a_folder_keeps_the_name_of_the_source() {
    let (_folder, roots) = tree();
    for root in &roots {
        for path in ["sub", "sub/"] {
            let destination = root.destination(&parse(path), b"data.bin").unwrap();
            assert_eq!(destination.shown(), "sub/data.bin");
            let error = root.destination(&parse(path), b"").unwrap_err();
            assert_eq!(error.status(), Status::NotAFile, "{error}");
            let error = root.destination(&parse(path), b"../x").unwrap_err();
            assert_eq!(error.status(), Status::BadPath, "{error}");
        }
        let top = root.destination(&parse(""), b"data.bin").unwrap();
        assert_eq!(top.shown(), "data.bin");
        let named = root.destination(&parse("sub/other"), b"data.bin").unwrap();
        assert_eq!(named.shown(), "sub/other");
        let error = root.destination(&parse("none/"), b"data.bin").unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
        let file = root.destination(&parse("sub/file"), b"data.bin").unwrap();
        assert!(matches!(
            file.existing(),
            Ok(Existing::File { mode: Some(_) })
        ));
    }
}

#[test]
fn a_folder_swapped_for_a_link_never_leaks() {
    let (folder, roots) = tree();
    let root = folder.path().join("root");
    fs::create_dir(folder.path().join("outside")).unwrap();
    fs::write(folder.path().join("outside/file"), "theirs").unwrap();
    symlink("../outside", root.join("evil")).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [
                    ("sub", "kept"),
                    ("evil", "sub"),
                    ("sub", "evil"),
                    ("kept", "sub"),
                ] {
                    fs::rename(root.join(from), root.join(to)).unwrap();
                }
            }
        });
        for round in 0..4000 {
            if let Ok(text) = read(&roots[round % 2], "sub/file") {
                assert_eq!(text, "ours");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_missing_permission_is_told() {
    let (folder, roots) = tree();
    let file = folder.path().join("root/sub/file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, so there is nothing to see then.
    if fs::File::open(&file).is_err() {
        for root in &roots {
            let error = root.source(&parse("sub/file")).unwrap_err();
            assert_eq!(error.status(), Status::Permission);
        }
    }
}

#[test]
fn what_is_removed_by_a_batch_is_reached_by_no_link() {
    //= spec/20-copy.md#lists
    //= type=test
    //# A server that removes a batch MUST NOT follow a symbolic link beneath its path.
    let (folder, roots) = tree();
    let top = folder.path().join("root");
    for (index, root) in roots.iter().enumerate() {
        let (link, real) = (format!("link{index}"), format!("real{index}"));
        fs::create_dir(top.join(&real)).unwrap();
        fs::write(top.join(&real).join("file"), "x").unwrap();
        symlink(&real, top.join(&link)).unwrap();
        root.remove_entry(&parse(&format!("{link}/file")))
            .unwrap_err();
        let error = root.remove_entry(&parse(&real)).unwrap_err();
        assert_eq!(error.status(), Status::NotAFile);
        root.remove_entry(&parse(&link)).unwrap();
        assert!(top.join(&real).join("file").exists());
        root.remove_entry(&parse(&format!("{real}/file"))).unwrap();
        root.remove_entry(&parse(&real)).unwrap();
        root.remove_entry(&parse("")).unwrap_err();
    }
}

#[test]
fn only_regular_files_beneath_the_root_get_other_names() {
    //= spec/20-copy.md#batches
    //= type=test
    //# Another name of a file MUST NOT be given to anything but a regular file beneath the root.
    let (folder, roots) = tree();
    let top = folder.path().join("root");
    fs::write(folder.path().join("secret"), "theirs").unwrap();
    symlink("../secret", top.join("out")).unwrap();
    symlink("..", top.join("up")).unwrap();
    for root in &roots {
        let to = root.tree_destination(&parse("name")).unwrap();
        for target in ["out", "up/secret", "sub", "none", ""] {
            root.hard_link(&parse(target), &to).unwrap_err();
            assert!(!top.join("name").exists(), "{target}");
        }
        root.hard_link(&parse("sub/file"), &to).unwrap();
        // Once more is as good.
        root.hard_link(&parse("sub/file"), &to).unwrap();
        assert_eq!(
            fs::read(top.join("name")).unwrap(),
            fs::read(top.join("sub/file")).unwrap()
        );
        fs::remove_file(top.join("name")).unwrap();
    }
}
