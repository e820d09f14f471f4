//! What of a tree is copied, and what is removed where it is copied to.

use std::{
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    trees::tree,
    world::{World, content, expect, names, stderr},
};

/// The paths of a tree that are no folders, in order.
fn files(folder: &Path) -> Vec<String> {
    let found = tree(folder).into_iter().filter(|(_, held)| held.is_some());
    found
        .map(|(path, _)| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned())
        .collect()
}

/// Writes empty files, with the folders they are in.
fn plant(folder: &Path, files: &[&str]) {
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

fn stdout(output: &std::process::Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_is_excluded_stays_behind_in_both_directions() {
    let world = World::new();
    let all = [
        "a.c",
        "a.o",
        "keep.o",
        "build/x",
        "src/b.c",
        "src/b.o",
        "src/build",
    ];
    for (rules, wanted) in [
        (
            &[
                "--include",
                "keep.o",
                "--exclude",
                "*.o",
                "--exclude",
                "build/",
            ][..],
            &["a.c", "keep.o", "src/b.c", "src/build"][..],
        ),
        (
            &["--exclude", "*.o", "--include", "keep.o"],
            &["a.c", "build/x", "src/b.c", "src/build"],
        ),
        (&["--include", "*.c"], &["a.c", "src/b.c"]),
        (&["--exclude", "/src"], &["a.c", "a.o", "build/x", "keep.o"]),
    ] {
        for folder in [world.here("tree"), world.root("tree")] {
            let _ = fs::remove_dir_all(&folder);
            plant(&folder, &all);
        }
        world.run(0, &[rules, &["-r", "tree", &world.url("got")]].concat());
        assert_eq!(files(&world.root("got")), wanted, "{rules:?}");
        fs::remove_dir_all(world.root("got")).unwrap();
        world.run(0, &[rules, &["-r", &world.url("tree"), "got"]].concat());
        assert_eq!(files(&world.here("got")), wanted, "{rules:?}");
        fs::remove_dir_all(world.here("got")).unwrap();
    }
    let output = world.run(
        0,
        &["--exclude", "*.o", "tree/a.c", "tree/a.o", &world.url("")],
    );
    assert_eq!(stderr(&output), "");
    assert_eq!(names(&world.root("")), ["a.c", "tree"]);
    let output = world.run(2, &["-r", "--exclude", "!x", "tree", &world.url("")]);
    assert!(stderr(&output).contains("--include"), "{}", stderr(&output));
}

#[test]
fn a_list_names_what_is_copied() {
    let world = World::new();
    for folder in [world.here("tree"), world.root("tree")] {
        plant(&folder, &["a/b", "a/c", "d/e", "f", "odd \u{fffd}"]);
    }
    fs::write(world.here("list"), "a/b\n\n/f\nodd \u{fffd}\r\na/b\n").unwrap();
    world.run(0, &["--files-from", "list", "tree", &world.url("got")]);
    world.run(0, &["--files-from", "list", &world.url("tree"), "got"]);
    for got in [world.root("got"), world.here("got")] {
        assert_eq!(files(&got), ["a/b", "f", "odd \u{fffd}"]);
    }
    // From standard input, and a folder with all that is in it by -r.
    for (source, to, got) in [
        ("tree".to_owned(), world.url("more"), world.root("more")),
        (world.url("tree"), "more".to_owned(), world.here("more")),
    ] {
        let mut command = world.rpcp(&["-r", "--files-from", "-", "--exclude", "c", &source, &to]);
        let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"a\0f\0").unwrap();
        drop(input);
        expect(0, child.wait_with_output().unwrap());
        assert_eq!(files(&got), ["a/b", "f"]);
    }
    // What is not there, what is a folder and what leads out is listed, and the rest is copied.
    fs::write(world.here("list"), "none\na\n../secret\nd/e\n").unwrap();
    for (source, to, got) in [
        ("tree".to_owned(), world.url("some"), world.root("some")),
        (world.url("tree"), "some".to_owned(), world.here("some")),
    ] {
        let output = world.run(1, &["--files-from", "list", &source, &to]);
        let text = stderr(&output);
        for name in ["none: ", "a: is a folder: -r", "../secret: "] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert_eq!(files(&got), ["d/e"]);
    }
    world.run(4, &["--files-from", "none", "tree", &world.url("got")]);
    world.run(
        2,
        &["--files-from", "list", "tree", "list", &world.url("got")],
    );
}

/// What an older copy has, of which the source has no more than two files.
const OLD: [&str; 6] = [
    "same",
    "gone",
    "new/old",
    "gone-folder/a/b",
    "kept/log",
    "part/.x.rp-partial",
];
/// What is deleted of it.
const TOLD: [&str; 7] = [
    "gone",
    "gone-folder",
    "gone-folder/a",
    "gone-folder/a/b",
    "link",
    "new/old",
    "part",
];

#[test]
fn what_the_source_does_not_have_is_deleted_once_all_was_copied() {
    let world = World::new();
    let case = |source_at: &Path, target_at: &Path, from: &str, to: &str| {
        for folder in [source_at, target_at] {
            let _ = fs::remove_dir_all(folder);
        }
        plant(source_at, &["same", "new/file", "kept/inside"]);
        plant(target_at, &OLD);
        plant(target_at.parent().unwrap(), &["beside"]);
        symlink("../beside", target_at.join("link")).unwrap();
        let run = |code, more: &[&str]| {
            let args = [&["-r", "--delete", "--exclude", "log"], more, &[from, to]].concat();
            world.run(code, &args)
        };
        let before = tree(target_at);
        let output = run(0, &["--dry-run"]);
        let deleting = |path: &&str| {
            let root = target_at.file_name().unwrap().to_string_lossy();
            format!(
                "deleting {}",
                [&*root, *path].join("/").trim_start_matches("./")
            )
        };
        let lines = stdout(&output);
        for line in TOLD.iter().map(deleting) {
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
        assert_eq!(lines.len(), TOLD.len() + 3, "{lines:?}");
        assert_eq!(tree(target_at), before);
        // A failure, and nothing is deleted.
        symlink("nowhere", source_at.join("bad")).unwrap();
        let output = run(1, &[]);
        assert!(
            stderr(&output).contains("nothing was deleted"),
            "{}",
            stderr(&output)
        );
        assert!(target_at.join("gone").exists());
        fs::remove_file(source_at.join("bad")).unwrap();
        let output = run(0, &[]);
        assert!(
            stderr(&output).contains("part: stays"),
            "{}",
            stderr(&output)
        );
        assert_eq!(
            files(target_at),
            [
                "kept/inside",
                "kept/log",
                "new/file",
                "part/.x.rp-partial",
                "same"
            ]
        );
        assert!(target_at.parent().unwrap().join("beside").exists());
    };
    fs::create_dir(world.root("in")).unwrap();
    fs::create_dir(world.here("in")).unwrap();
    case(
        &world.here("tree"),
        &world.root("in/tree"),
        "tree",
        &world.url("in"),
    );
    case(
        &world.root("tree"),
        &world.here("in/tree"),
        &world.url("tree"),
        "in",
    );
    world.run(2, &["--delete", "tree", &world.url("")]);
}

#[test]
fn a_dry_run_of_one_file_copies_nothing_either() {
    let world = World::new();
    fs::write(world.here("file"), content(10)).unwrap();
    fs::write(world.root("theirs"), content(10)).unwrap();
    let output = world.run(0, &["--dry-run", "file", &world.url("")]);
    assert_eq!(stdout(&output), ["file"]);
    let output = world.run(0, &["--dry-run", &world.url("theirs"), "."]);
    assert_eq!(stdout(&output), ["theirs"]);
    assert_eq!(names(&world.root("")), ["theirs"]);
    assert_eq!(names(&world.here("")), ["file"]);
}

/// A file system of its own at `at`, for as long as `command` runs; `None` where this machine does not allow that.
pub(crate) fn with_mount(command: &Command, at: &Path, options: &str) -> Option<Command> {
    let mut wrapped = Command::new("unshare");
    let script = format!("mount -t tmpfs -o {options} none \"$0\" && exec \"$@\"");
    wrapped
        .args(["--map-root-user", "--mount", "sh", "-ec", &script])
        .arg(at);
    let mut tried = Command::new("unshare");
    let tried = tried.args(["--map-root-user", "--mount", "true"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: no mount namespace can be made here");
        return None;
    }
    wrapped.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap_or_default());
    }
    wrapped.stdin(Stdio::null());
    Some(wrapped)
}

#[test]
fn other_file_systems_are_stayed_out_of_and_what_was_copied_from_there_stays() {
    let world = World::new();
    plant(&world.here("tree"), &["a", "mounted/hidden"]);
    plant(&world.root("tree"), &["mounted/old", "gone"]);
    let args = [
        "-r",
        "--one-file-system",
        "--delete",
        "tree",
        &world.url(""),
    ];
    let command = world.rpcp(&args);
    let Some(mut command) = with_mount(&command, &world.here("tree/mounted"), "size=1m") else {
        return;
    };
    expect(0, command.output().unwrap());
    assert_eq!(files(&world.root("tree")), ["a", "mounted/old"]);
    // Without the flag the other file system, which is empty, is part of the tree.
    let command = world.rpcp(&["-r", "--delete", "tree", &world.url("")]);
    let mut command = with_mount(&command, &world.here("tree/mounted"), "size=1m").unwrap();
    expect(0, command.output().unwrap());
    assert_eq!(files(&world.root("tree")), ["a"]);
    assert!(world.root("tree/mounted").is_dir());
}
