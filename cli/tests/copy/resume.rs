//! Copies whose programs were killed: what is there is not copied again.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Stdio},
};

use crate::{
    program::wait_for,
    world::{World, content, names, stderr},
};

const SIZE: usize = 24 << 20;

/// Bytes that the last copy found there, as it said itself.
fn there(text: &str) -> usize {
    let line = text.lines().find(|line| line.contains("were there from"));
    let line = line.expect(text);
    line.split(' ').next().unwrap().parse().unwrap()
}

/// Kills a copy once its receiver has written something down at `journal`.
fn kill_at(mut child: Child, journal: &Path) {
    wait_for(journal, |length| length.is_some_and(|length| length > 0));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_client_that_is_killed_while_it_sends_goes_on_where_it_was() {
    let world = World::new();
    let bytes = content(SIZE);
    fs::write(world.here("file"), &bytes).unwrap();
    let url = world.url("stored");
    let child = world
        .rpcp(&["--rate", "60M", "file", &url])
        .spawn()
        .unwrap();
    kill_at(child, &world.root(".stored.rp-journal"));
    assert_eq!(
        names(&world.root("")),
        [".stored.rp-journal", ".stored.rp-partial"]
    );
    // The server may not have noticed that the other is gone.
    let mut output = world.rpcp(&["--stats", "file", &url]).output().unwrap();
    while stderr(&output).contains("another copy") {
        output = world.rpcp(&["--stats", "file", &url]).output().unwrap();
    }
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(there(&text) >= 1 << 20, "{text}");
    assert_eq!(fs::read(world.root("stored")).unwrap(), bytes);
    assert_eq!(names(&world.root("")), ["stored"]);
}

#[test]
fn a_client_that_is_killed_while_it_fetches_goes_on_where_it_was() {
    let world = World::new();
    let bytes = content(SIZE);
    // A source that is too slow to be whole before it is killed.
    fs::write(world.root("file"), &bytes).unwrap();
    let url = world.url("file");
    let mut command = world.rpcp(&["--checksum", "--stats", &url, "got"]);
    let limited = crate::world::Wire::slow(&world, std::time::Duration::from_millis(150));
    let slow = format!("rp://127.0.0.1:{}/file", limited.port);
    // Slow enough not to be whole before the disk has said that a part of it is there.
    let mut child = world.rpcp(&["--rate", "40M", &slow, "got"]);
    let child = child.spawn().unwrap();
    kill_at(child, &world.here(".got.rp-journal"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut text) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(there(&text) >= 1 << 20, "{text}");
    assert_eq!(out, format!("{}  file\n", blake3::hash(&bytes).to_hex()));
    assert_eq!(fs::read(world.here("got")).unwrap(), bytes);
    assert_eq!(names(&world.here("")), ["got"]);
}

#[test]
fn a_source_that_changed_since_is_copied_anew_and_that_is_said() {
    let world = World::new();
    fs::write(world.here("file"), content(SIZE)).unwrap();
    let url = world.url("stored");
    let child = world
        .rpcp(&["--rate", "60M", "file", &url])
        .spawn()
        .unwrap();
    kill_at(child, &world.root(".stored.rp-journal"));
    let mut other = content(SIZE);
    other[5] ^= 1;
    fs::write(world.here("file"), &other).unwrap();
    let mut output = world.rpcp(&["file", &url]).output().unwrap();
    while stderr(&output).contains("another copy") {
        output = world.rpcp(&["file", &url]).output().unwrap();
    }
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("the source is another"), "{text}");
    assert_eq!(fs::read(world.root("stored")).unwrap(), other);
}
