//! Folders, and several files at once: what is copied, listed, removed and refused.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::world::{World, content, names, stderr};

/// Every path of a tree and what is there.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(folder.join(&path)).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name());
            let kind = entry.file_type().unwrap();
            let held = match () {
                () if kind.is_dir() => {
                    waiting.push(path.clone());
                    None
                }
                () if kind.is_symlink() => {
                    let target = fs::read_link(entry.path()).unwrap();
                    Some([b"-> ", target.as_os_str().as_bytes()].concat())
                }
                () => Some(fs::read(entry.path()).unwrap()),
            };
            found.insert(path, held);
        }
    }
    found
}

/// Files of all sizes in folders of all depths, one of them empty, and a name that is not UTF-8.
pub(crate) fn plant(folder: &Path) {
    for name in ["a/b/c", "a/empty", "many"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for (name, size) in [
        ("a/none", 0),
        ("a/b/some", 4096),
        ("a/b/c/more", 300_000),
        ("a/large", (1 << 20) + 1),
        ("larger", 5_000_001),
    ] {
        fs::write(folder.join(name), content(size)).unwrap();
    }
    for index in 0..300 {
        let bytes = content(index % 97 * 13);
        fs::write(folder.join("many").join(index.to_string()), bytes).unwrap();
    }
    let odd = OsStr::from_bytes(b"a/not utf-8 \xff\xfe");
    fs::write(folder.join(odd), "odd").unwrap();
}

#[test]
fn a_tree_travels_both_ways_and_is_the_same() {
    let world = World::new();
    plant(&world.here("tree"));
    let planted = tree(&world.here("tree"));
    let output = world.run(0, &["-r", "tree", &world.url("")]);
    assert_eq!(stderr(&output), "");
    assert_eq!(tree(&world.root("tree")), planted);
    let output = world.run(0, &["-r", &world.url("tree"), "back"]);
    assert_eq!(stderr(&output), "");
    assert_eq!(tree(&world.here("back")), planted);
    assert_eq!(names(&world.root("")), ["tree"]);
}

#[test]
fn a_folder_that_is_there_takes_the_tree_and_another_name_becomes_it() {
    let world = World::new();
    fs::create_dir(world.here("tree")).unwrap();
    fs::write(world.here("tree/file"), "x").unwrap();
    for folder in [world.root("there"), world.here("there")] {
        fs::create_dir(folder).unwrap();
    }
    for (target, whole) in [
        ("there", "there/tree/file"),
        ("there/", "there/tree/file"),
        ("new", "new/file"),
        ("deep/", "deep/tree/file"),
        ("", "tree/file"),
    ] {
        world.run(0, &["-r", "tree", &world.url(target)]);
        assert!(world.root(whole).exists(), "{target}");
    }
    for (source, target, whole) in [
        ("there/tree", "there", "there/tree/file"),
        ("there/tree/", ".", "tree/file"),
        ("there/tree", "new", "new/file"),
        ("", "all", "all/there/tree/file"),
    ] {
        world.run(0, &["-r", &world.url(source), target]);
        assert!(world.here(whole).exists(), "{source} {target}");
    }
    world.run(0, &["-r", "new/.", &world.url("there")]);
    assert!(world.root("there/file").exists());
}

#[test]
fn several_sources_go_to_a_folder_and_folders_only_with_r() {
    let world = World::new();
    plant(&world.here("tree"));
    for name in ["one", "two"] {
        fs::write(world.here(name), name).unwrap();
    }
    fs::create_dir(world.root("to")).unwrap();
    world.run(0, &["one", "two", &world.url("to")]);
    assert_eq!(names(&world.root("to")), ["one", "two"]);
    let output = world.run(1, &["one", "tree", &world.url("to/")]);
    assert!(
        stderr(&output).contains("tree: is a folder: -r"),
        "{}",
        stderr(&output)
    );
    let output = world.run(1, &["one", "two", &world.url("to/one")]);
    assert!(
        stderr(&output).contains("is no folder"),
        "{}",
        stderr(&output)
    );
    world.run(0, &["-r", "one", "tree", &world.url("to")]);
    assert_eq!(names(&world.root("to")), ["one", "tree", "two"]);
    fs::create_dir(world.here("got")).unwrap();
    world.run(0, &[&world.url("to/one"), &world.url("to/two"), "got"]);
    assert_eq!(names(&world.here("got")), ["one", "two"]);
    let output = world.run(1, &[&world.url("to/one"), &world.url("to/tree"), "got"]);
    assert!(
        stderr(&output).contains("to/tree: is a folder: -r"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_cannot_be_read_is_listed_and_the_rest_is_copied() {
    let world = World::new();
    plant(&world.here("tree"));
    let unreadable = ["a/b/some", "a/large", "many/7", "many/80", "many/299"];
    for name in unreadable {
        let file = world.here("tree").join(name);
        fs::remove_file(&file).unwrap();
        // Root reads everything; what leads nowhere nobody does.
        symlink("nowhere", file).unwrap();
    }
    let output = world.run(1, &["-r", "tree", &world.url("")]);
    let text = stderr(&output);
    for name in unreadable {
        assert!(text.contains(&format!("{name}: ")), "{name}: {text}");
    }
    assert!(text.contains("5 of 306 not copied"), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    assert_eq!(names(&world.root("tree/many")).len(), 297);
    fs::copy(world.here("tree/larger"), world.root("tree/a/large")).unwrap();
    symlink("../../../secret", world.root("tree/a/out")).unwrap();
    fs::write(world.folder.path().join("secret"), "theirs").unwrap();
    let output = world.run(1, &["-r", &world.url("tree"), "back"]);
    let text = stderr(&output);
    assert!(text.contains("tree/a/out: "), "{text}");
    assert!(text.contains("1 of 303 not copied"), "{text}");
    assert_eq!(
        tree(&world.here("back/many")),
        tree(&world.root("tree/many"))
    );
}

#[test]
fn modes_and_times_of_files_and_folders_are_kept_with_p() {
    let world = World::new();
    plant(&world.here("tree"));
    let time = SystemTime::UNIX_EPOCH + Duration::new(86_400, 5);
    for (name, mode) in [
        ("a/b/some", 0o640),
        ("a/large", 0o600),
        ("a/b", 0o550),
        ("many", 0o711),
    ] {
        let path = world.here("tree").join(name);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    world.run(0, &["-r", "-p", "tree", &world.url("")]);
    world.run(0, &["-r", "-p", &world.url("tree"), "back"]);
    for copy in [world.root("tree"), world.here("back")] {
        for (name, mode) in [
            ("a/b/some", 0o640),
            ("a/large", 0o600),
            ("a/b", 0o550),
            ("many", 0o711),
        ] {
            let metadata = fs::metadata(copy.join(name)).unwrap();
            assert_eq!(metadata.mode() & 0o777, mode, "{name}");
            assert_eq!(metadata.modified().unwrap(), time, "{name}");
        }
    }
}

#[test]
fn links_are_what_they_lead_to_or_themselves_or_nothing() {
    let world = World::new();
    fs::create_dir_all(world.here("tree/folder")).unwrap();
    fs::write(world.here("tree/folder/file"), "x").unwrap();
    symlink("folder/file", world.here("tree/link")).unwrap();
    symlink("folder", world.here("tree/alias")).unwrap();
    for (how, there) in [
        ("copy", vec!["alias", "folder", "link"]),
        ("keep", vec!["alias", "folder", "link"]),
        ("skip", vec!["folder"]),
    ] {
        world.run(0, &["-r", "--links", how, "tree", &world.url(how)]);
        assert_eq!(names(&world.root(how)), there);
        let is_link = |path: PathBuf| fs::symlink_metadata(path).unwrap().is_symlink();
        if how != "skip" {
            assert_eq!(is_link(world.root(how).join("link")), how == "keep");
            assert_eq!(is_link(world.root(how).join("alias")), how == "keep");
        }
        // A second copy over the first meets what is there already.
        world.run(0, &["-r", "--links", how, "tree/.", &world.url(how)]);
    }
    for (how, there) in [("keep", 3), ("copy", 3), ("skip", 1)] {
        let target = format!("from-{how}");
        world.run(0, &["-r", "--links", how, &world.url("keep"), &target]);
        assert_eq!(names(&world.here(&target)).len(), there);
    }
    assert_eq!(tree(&world.here("from-keep")), tree(&world.here("tree")));
}

#[test]
fn a_link_that_leads_in_a_circle_is_told_of() {
    let world = World::new();
    fs::create_dir_all(world.here("tree/a/b")).unwrap();
    fs::write(world.here("tree/a/file"), "x").unwrap();
    symlink("../..", world.here("tree/a/b/up")).unwrap();
    let output = world.run(1, &["-r", "tree", &world.url("")]);
    assert!(
        stderr(&output).contains("tree/a/b/up: "),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(world.root("tree/a/file")).unwrap(), b"x");
}

#[test]
fn what_exists_is_listed_made_and_removed() {
    let world = World::new();
    plant(&world.root("tree"));
    let listed = |args: &[&str]| {
        let output = world.run(0, args);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(listed(&["ls", &world.url("tree")]), "a/\nlarger\nmany/\n");
    assert_eq!(listed(&["ls", &world.url("tree/larger")]), "larger\n");
    let all = listed(&["ls", "-r", &world.url("tree/a")]);
    assert_eq!(
        all,
        "b/\nb/c/\nb/c/more\nb/some\nempty/\nlarge\nnone\nnot utf-8 \u{fffd}\u{fffd}\n"
    );
    let long = listed(&["ls", "-l", &world.url("tree/larger")]);
    assert!(
        long.contains(" 5000001 ") && long.starts_with("-rw-"),
        "{long}"
    );
    world.run(4, &["ls", &world.url("none")]);
    world.run(0, &["mkdir", &world.url("made")]);
    assert!(world.root("made").is_dir());
    world.run(1, &["mkdir", &world.url("made")]);
    world.run(4, &["mkdir", &world.url("none/made")]);
    world.run(0, &["rm", &world.url("tree/larger")]);
    let output = world.run(1, &["rm", &world.url("tree")]);
    assert!(stderr(&output).contains("-r"), "{}", stderr(&output));
    symlink("..", world.root("tree/a/up")).unwrap();
    world.run(0, &["rm", "-r", &world.url("tree"), &world.url("made")]);
    assert_eq!(names(&world.root("")), [""; 0]);
    world.run(4, &["rm", &world.url("tree")]);
    world.run(1, &["rm", "-r", &world.url("")]);
    let read_only = World::serving(true);
    fs::write(read_only.root("file"), "x").unwrap();
    world.run(2, &["rm", "file"]);
    for args in [["rm", "file"], ["mkdir", "folder"]] {
        read_only.run(5, &[args[0], &read_only.url(args[1])]);
    }
    fs::create_dir(read_only.here("tree")).unwrap();
    fs::write(read_only.here("tree/file"), "y").unwrap();
    read_only.run(5, &["-r", "tree", &read_only.url("")]);
    assert_eq!(names(&read_only.root("")), ["file"]);
}

#[test]
fn a_dry_run_names_what_it_would_copy_and_copies_nothing() {
    let world = World::new();
    fs::create_dir(world.here("tree")).unwrap();
    fs::write(world.here("tree/file"), "x").unwrap();
    let output = world.run(0, &["-r", "--dry-run", "tree", &world.url("")]);
    assert_eq!(output.stdout, b"tree/file\n");
    assert_eq!(names(&world.root("")), [""; 0]);
    world.run(0, &["-r", "tree", &world.url("")]);
    let output = world.run(0, &["-r", "--dry-run", &world.url("tree"), "back"]);
    assert_eq!(output.stdout, b"tree/file\n");
    assert_eq!(names(&world.here("")), ["tree"]);
}

#[test]
fn each_way_to_be_durable_copies_the_tree() {
    let world = World::new();
    fs::create_dir(world.here("tree")).unwrap();
    for index in 0..20 {
        fs::write(world.here("tree").join(index.to_string()), content(index)).unwrap();
    }
    for how in ["file", "batch", "none"] {
        world.run(0, &["-r", "--fsync", how, "tree", &world.url(how)]);
        assert_eq!(tree(&world.root(how)), tree(&world.here("tree")));
    }
}

#[test]
fn patterns_are_expanded_at_the_server() {
    let world = World::new();
    for name in ["a/x", "b/y", "b/.z"] {
        fs::create_dir_all(world.root(name)).unwrap();
        fs::write(world.root(name).join("file.txt"), name).unwrap();
        fs::write(world.root(name).join("file"), name).unwrap();
    }
    fs::create_dir(world.here("got")).unwrap();
    world.run(0, &["-r", &world.url("*/?"), "got"]);
    assert_eq!(names(&world.here("got")), ["x", "y"]);
    world.run(0, &[&world.url("a/x/*.txt"), "."]);
    assert_eq!(names(&world.here("")), ["file.txt", "got"]);
    let output = world.run(4, &[&world.url("*.none"), "."]);
    assert!(stderr(&output).contains("nothing fits the pattern"));
}
