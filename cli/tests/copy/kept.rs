//! What a copy keeps besides names and content: links, holes, extended attributes, modes, and digests.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, getxattr, mknodat,
        setxattr, utimensat,
    },
    io::Errno,
};

use crate::world::{World, content, expect, names, stderr};

/// Runs a copy of `tree` to the server and one back, each with `flags`, and gives both copies to `check`.
fn both_ways(world: &World, flags: &[&str], check: impl Fn(&Path)) {
    for (copy, from, to) in [
        (world.root("copy"), "tree/.".to_owned(), world.url("copy")),
        (world.here("back"), world.url("tree/."), "back".to_owned()),
    ] {
        let _ = fs::remove_dir_all(&copy);
        // Over what is there, it comes to the same.
        for _ in 0..2 {
            let output = world.run(0, &[flags, &["-r", &from, &to]].concat());
            assert_eq!(stderr(&output), "");
            check(&copy);
        }
    }
}

/// Makes a folder at the user's and the same at the server.
fn plant(world: &World, make: impl Fn(&Path)) {
    for tree in [world.here("tree"), world.root("tree")] {
        fs::create_dir(&tree).unwrap();
        make(&tree);
    }
}

#[test]
fn names_of_one_file_stay_so_if_wanted() {
    let world = World::new();
    plant(&world, |tree| {
        fs::create_dir(tree.join("folder")).unwrap();
        for (name, size) in [("small", 10), ("large", (1 << 20) + 5)] {
            fs::write(tree.join(name), content(size)).unwrap();
            fs::hard_link(tree.join(name), tree.join("folder").join(name)).unwrap();
            fs::hard_link(tree.join(name), tree.join(format!("{name} too"))).unwrap();
        }
        fs::write(tree.join("other"), content(10)).unwrap();
    });
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let others = ["folder/small", "small too"];
    both_ways(&world, &["--hard-links"], |copy| {
        for name in ["small", "large"] {
            let [first, second, third] = [
                copy.join(name),
                copy.join("folder").join(name),
                copy.join(format!("{name} too")),
            ];
            assert_eq!(inode(&first), inode(&second), "{name}");
            assert_eq!(inode(&first), inode(&third), "{name}");
            assert_eq!(
                fs::read(&first).unwrap(),
                fs::read(world.here("tree").join(name)).unwrap()
            );
        }
        assert_ne!(inode(&copy.join("small")), inode(&copy.join("other")));
        assert_eq!(
            names(copy),
            [
                "folder",
                "large",
                "large too",
                "other",
                "small",
                "small too"
            ]
        );
    });
    both_ways(&world, &[], |copy| {
        for other in others {
            assert_eq!(fs::read(copy.join(other)).unwrap(), content(10));
        }
    });
    fs::remove_dir_all(world.root("copy")).unwrap();
    world.run(0, &["-r", "tree", &world.url("copy")]);
    let copy = world.root("copy");
    assert_ne!(inode(&copy.join("small")), inode(&copy.join("small too")));
}

#[test]
fn zeros_become_holes_if_wanted() {
    let world = World::new();
    plant(&world, |tree| {
        for (name, size) in [("small", 200_000), ("large", 6 << 20)] {
            let mut bytes = vec![0; size];
            bytes[..5000].copy_from_slice(&content(5000));
            bytes[size - 5000..].copy_from_slice(&content(5000));
            fs::write(tree.join(name), bytes).unwrap();
        }
        fs::write(tree.join("empty"), vec![0; 1 << 20]).unwrap();
    });
    both_ways(&world, &["--sparse"], |copy| {
        for name in ["small", "large", "empty"] {
            let same = fs::read(copy.join(name)).unwrap();
            assert!(
                same == fs::read(world.here("tree").join(name)).unwrap(),
                "{name}"
            );
            let blocks = fs::metadata(copy.join(name)).unwrap().blocks();
            assert!(blocks * 512 <= 32_768, "{name}: {blocks}");
        }
    });
    world.run(0, &["--sparse", "tree/large", &world.url("one")]);
    assert!(fs::metadata(world.root("one")).unwrap().blocks() * 512 <= 32_768);
}

/// An ACL that lets user 12345 read: a version, and entries of tag, permissions and id.
fn acl() -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1u16, 6u16, u32::MAX),
        (2, 4, 12345),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 40_000];
    match getxattr(path, name, value.as_mut_slice()) {
        Err(Errno::NODATA | Errno::NOTSUP) => None,
        length => Some(value[..length.unwrap()].to_vec()),
    }
}

fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    match setxattr(path, name, value, XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::PERM | Errno::NOSPC | Errno::TOOBIG) => false,
        set => {
            set.unwrap();
            true
        }
    }
}

#[test]
fn extended_attributes_and_acls_are_kept_if_wanted() {
    const ACL: &str = "system.posix_acl_access";
    let world = World::new();
    plant(&world, |tree| {
        fs::create_dir(tree.join("folder")).unwrap();
        fs::write(tree.join("small"), content(10)).unwrap();
        fs::write(tree.join("large"), content((1 << 20) + 5)).unwrap();
    });
    if !set(&world.here("tree/small"), "user.some", b"x") {
        println!("skipped: this file system has no extended attributes");
        return;
    }
    let has_acls = set(&world.here("tree/small"), ACL, &acl());
    for tree in [world.here("tree"), world.root("tree")] {
        for name in ["", "folder", "small", "large"] {
            let path = tree.join(name);
            assert!(set(&path, "user.some", name.as_bytes()));
            set(&path, "trusted.some", b"only root's");
            if has_acls {
                assert!(set(&path, ACL, &acl()));
            }
        }
        // What its owner may not write to gets them all the same.
        fs::set_permissions(tree.join("small"), fs::Permissions::from_mode(0o440)).unwrap();
    }
    both_ways(&world, &["--xattrs", "-p"], |copy| {
        for name in ["", "folder", "small", "large"] {
            let (copied, source) = (copy.join(name), world.here("tree").join(name));
            assert_eq!(
                value(&copied, "user.some").as_deref(),
                Some(name.as_bytes())
            );
            assert_eq!(value(&copied, ACL), value(&source, ACL), "{name}");
            // A server neither sets them for its clients nor tells them.
            assert_eq!(value(&copied, "trusted.some"), None);
        }
    });
    both_ways(&world, &[], |_| {});
    fs::remove_dir_all(world.root("copy")).unwrap();
    world.run(0, &["-r", "tree", &world.url("copy")]);
    assert_eq!(value(&world.root("copy/large"), "user.some"), None);
    // More than a message carries fails that file alone, and says why.
    if set(&world.here("tree/large"), "user.much", &vec![7; 33_000]) {
        let output = world.run(1, &["-r", "--xattrs", "tree", &world.url("more")]);
        assert!(
            stderr(&output).contains("tree/large: "),
            "{}",
            stderr(&output)
        );
        assert!(world.root("more/small").exists());
    }
}

#[test]
fn root_keeps_set_user_id_of_its_own_files_by_p_and_a_server_never() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make such files");
        return;
    }
    let world = World::new();
    let modes = [
        ("mine", 0o4755),
        ("theirs", 0o4755),
        ("group", 0o2755),
        ("sticky", 0o1755),
    ];
    plant(&world, |tree| {
        for (name, mode) in modes {
            fs::write(tree.join(name), name).unwrap();
            let owner = if name == "theirs" { 1 } else { 0 };
            chown(tree.join(name), Some(owner), Some(0)).unwrap();
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    world.run(0, &["-r", "-p", &world.url("tree"), "kept"]);
    world.run(0, &["-r", &world.url("tree"), "plain"]);
    world.run(0, &["-r", "-p", "tree", &world.url("sent")]);
    world.run(0, &["-p", &world.url("tree/mine"), "one"]);
    assert_eq!(mode(&world.here("one")), 0o4755);
    for (name, whole) in modes {
        let kept = if name == "theirs" { 0o755 } else { whole };
        assert_eq!(mode(&world.here("kept").join(name)), kept, "{name}");
        assert_eq!(mode(&world.here("plain").join(name)) & 0o7000, 0, "{name}");
        assert_eq!(mode(&world.root("sent").join(name)), 0o755, "{name}");
    }
}

#[test]
fn times_of_links_are_kept_with_p() {
    let world = World::new();
    let time = Timespec {
        tv_sec: 86_400,
        tv_nsec: 5,
    };
    plant(&world, |tree| {
        symlink("nowhere", tree.join("link")).unwrap();
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let link = tree.join("link");
        utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    });
    both_ways(&world, &["-p", "--links", "keep"], |copy| {
        let metadata = fs::symlink_metadata(copy.join("link")).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(86_400, 5);
        assert_eq!(metadata.modified().unwrap(), time);
    });
}

#[test]
fn what_is_no_file_is_named_and_the_rest_is_copied() {
    let world = World::new();
    plant(&world, |tree| {
        fs::write(tree.join("file"), "x").unwrap();
        let pipe = tree.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    });
    for (from, to, copy) in [
        ("tree".to_owned(), world.url("copy"), world.root("copy")),
        (world.url("tree"), "copy".to_owned(), world.here("copy")),
    ] {
        let output = world.run(1, &["-r", &from, &to]);
        let text = stderr(&output);
        assert!(text.contains("pipe: not a regular file"), "{text}");
        assert_eq!(names(&copy), ["file"]);
    }
}

#[test]
fn a_manifest_is_written_as_b3sum_reads_it_and_compared_when_it_is_there() {
    let world = World::new();
    plant(&world, |tree| {
        fs::create_dir(tree.join("a b")).unwrap();
        fs::write(tree.join("a b/back\\slash"), content(10)).unwrap();
        fs::write(tree.join("large"), content(3 << 20)).unwrap();
    });
    let digest = |size| blake3::hash(&content(size)).to_hex().to_string();
    let expected = format!(
        "\\{}  tree/a b/back\\\\slash\n{}  tree/large\n",
        digest(10),
        digest(3 << 20)
    );
    for (index, from, to) in [
        (0, "tree".to_owned(), world.url("")),
        (1, world.url("tree"), ".".to_owned()),
    ] {
        let name = format!("manifest-{index}");
        let args = ["-r", "--manifest", &name, &from, &to];
        world.run(0, &args);
        assert_eq!(fs::read_to_string(world.here(&name)).unwrap(), expected);
        world.run(0, &args);
        let output = world.run(0, &["-r", "--checksum", &from, &to]);
        let mut lines: Vec<_> = expected.lines().collect();
        let mut printed: Vec<_> = str::from_utf8(&output.stdout).unwrap().lines().collect();
        lines.sort_unstable();
        printed.sort_unstable();
        assert_eq!(printed, lines);
    }
    // A file that differs, one that is missing, and one that is new.
    let listed = expected
        .replace("tree/large", "tree/gone")
        .replace(&digest(10), &digest(11));
    fs::write(world.here("manifest-0"), &listed).unwrap();
    let args = ["-r", "--manifest", "manifest-0", "tree", &world.url("")];
    let text = stderr(&world.run(7, &args));
    for words in [
        "back\\slash: copied, and not what the manifest says",
        "tree/large: copied, and not in the manifest",
        "tree/gone: in the manifest, and not copied",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(
        fs::read_to_string(world.here("manifest-0")).unwrap(),
        listed
    );
    fs::write(world.here("manifest-0"), "no list").unwrap();
    let text = stderr(&world.run(2, &args));
    assert!(text.contains("no list of digests"), "{text}");
    // One file by itself.
    world.run(0, &["--manifest", "one", "tree/large", &world.url("")]);
    let one = format!("{}  large\n", digest(3 << 20));
    assert_eq!(fs::read_to_string(world.here("one")).unwrap(), one);
}

#[test]
fn digests_of_what_b3sum_checks_are_right() {
    let world = World::new();
    let Ok(tried) = std::process::Command::new("b3sum")
        .arg("--version")
        .output()
    else {
        println!("skipped: b3sum is not installed");
        return;
    };
    assert!(tried.status.success());
    plant(&world, |tree| {
        fs::write(tree.join("back\\slash"), content(10)).unwrap();
        fs::write(tree.join("large"), content(3 << 20)).unwrap();
    });
    world.run(0, &["-r", "--manifest", "list", "tree", &world.url("")]);
    let mut b3sum = std::process::Command::new("b3sum");
    let checked = b3sum
        .arg("-c")
        .arg(world.here("list"))
        .current_dir(world.root(""));
    expect(0, checked.output().unwrap());
}
