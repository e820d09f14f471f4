//! Copies to where an older file stands, by the program: what it says it took from it, and that all is right.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

use crate::world::{World, content, names, stderr};

const SIZE: usize = 12 << 20;

/// So slow that not half of it is sent before the server says that it has an older file.
const SLOW: &str = "30M";

/// The same with a few places changed, and something in front.
fn newer(old: &[u8]) -> Vec<u8> {
    let mut new = b"something in front".to_vec();
    new.extend(old);
    for place in 1..4 {
        new[place * SIZE / 4..][..20_000].fill(7);
    }
    new
}

/// Bytes that were taken from older files, as the last copy said itself.
fn taken(text: &str) -> usize {
    let line = text.lines().find(|line| line.contains("taken from older"));
    line.map_or(0, |line| line.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn of_a_newer_file_little_is_sent_in_both_directions() {
    let world = World::new();
    let old = content(SIZE);
    let new = newer(&old);
    let (from, to) = (world.here("file"), world.root("stored"));
    fs::write(&from, &new).unwrap();
    fs::write(&to, &old).unwrap();
    let inode = fs::metadata(&to).unwrap().ino();
    let url = world.url("stored");
    let text = stderr(&world.run(0, &["--rate", SLOW, "--stats", "file", &url]));
    assert!(taken(&text) >= SIZE / 2, "{text}");
    assert!(fs::read(&to).unwrap() == new);
    assert_ne!(fs::metadata(&to).unwrap().ino(), inode);
    assert_eq!(names(&world.root("")), ["stored"]);

    fs::write(world.here("got"), &old).unwrap();
    let output = world.run(0, &["--stats", "--checksum", &url, "got"]);
    assert!(taken(&stderr(&output)) >= SIZE * 97 / 100);
    assert!(fs::read(world.here("got")).unwrap() == new);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        printed,
        format!("{}  stored\n", blake3::hash(&new).to_hex())
    );
    assert_eq!(names(&world.here("")), ["file", "got"]);
}

#[test]
fn of_the_same_file_with_another_time_nothing_is_sent() {
    let world = World::new();
    let bytes = content(SIZE);
    fs::write(world.here("file"), &bytes).unwrap();
    fs::write(world.root("stored"), &bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options()
        .write(true)
        .open(world.here("file"))
        .unwrap();
    file.set_modified(time).unwrap();
    let url = world.url("stored");
    let text = stderr(&world.run(0, &["-p", "--rate", SLOW, "--stats", "file", &url]));
    assert!(taken(&text) >= SIZE / 2, "{text}");
    let metadata = fs::metadata(world.root("stored")).unwrap();
    assert_eq!(metadata.modified().unwrap(), time);
    assert!(fs::read(world.root("stored")).unwrap() == bytes);
}

#[test]
fn with_no_reduce_all_is_sent() {
    let world = World::new();
    let old = content(SIZE);
    let new = newer(&old);
    fs::write(world.here("file"), &new).unwrap();
    for name in ["stored", "other"] {
        fs::write(world.root(name), &old).unwrap();
    }
    let url = world.url("stored");
    let text = stderr(&world.run(0, &["--no-reduce", "--stats", "file", &url]));
    assert_eq!(taken(&text), 0, "{text}");
    assert!(fs::read(world.root("stored")).unwrap() == new);
    fs::write(world.here("got"), &old).unwrap();
    let text = stderr(&world.run(0, &["--no-reduce", "--stats", &url, "got"]));
    assert_eq!(taken(&text), 0, "{text}");
    assert!(fs::read(world.here("got")).unwrap() == new);
}

#[test]
fn large_files_of_a_folder_make_use_of_older_ones_too() {
    let world = World::new();
    let old = content(SIZE);
    let new = newer(&old);
    for folder in [world.here("tree"), world.root("tree")] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(world.here("tree/large"), &new).unwrap();
    fs::write(world.here("tree/small"), "small").unwrap();
    fs::write(world.root("tree/large"), &old).unwrap();
    fs::write(world.root("tree/small"), "older").unwrap();
    let text = stderr(&world.run(
        0,
        &["-r", "--rate", SLOW, "--stats", "tree", &world.url("")],
    ));
    assert!(taken(&text) >= SIZE / 2, "{text}");
    assert!(fs::read(world.root("tree/large")).unwrap() == new);
    assert_eq!(fs::read(world.root("tree/small")).unwrap(), b"small");

    fs::write(world.here("tree/large"), &old).unwrap();
    let text = stderr(&world.run(0, &["-r", "--stats", &world.url("tree"), "."]));
    assert!(taken(&text) >= SIZE * 97 / 100, "{text}");
    assert!(fs::read(world.here("tree/large")).unwrap() == new);
}
