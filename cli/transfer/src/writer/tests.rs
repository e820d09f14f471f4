//! A file is either whole under its name, or not there under it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use tempfile::TempDir;

use super::*;
use crate::message::{Modified, Status};

fn begin(folder: &TempDir, size: Option<u64>) -> Result<Box<Writer>, Error> {
    let destination = Destination::local(&folder.path().join("file"))?;
    Writer::create(destination, size).map(Box::new)
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn an_existing_file_stays_until_the_new_one_is_whole() {
    //= spec/20-copy.md#files
    //= type=test
    //# An existing file of the same name MUST stay as it is until the rename replaces it in one
    //# step.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "old").unwrap();
    let mut writer = begin(&folder, Some(3)).unwrap();
    writer.write_at(1, b"ew").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"old");
    writer.write_at(0, b"n").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"old");
    writer.commit(&Attributes::default(), false).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(names(&folder), ["file"]);
}

#[test]
fn a_partial_file_is_private_and_stays_when_dropped() {
    //= spec/20-copy.md#files
    //= type=test
    //# A partial file MUST be readable and writable by its owner alone, where the file system has
    //# such permissions.
    let folder = tempfile::tempdir().unwrap();
    let partial = folder.path().join(".file.rp-partial");
    fs::write(&partial, "left by an earlier copy").unwrap();
    fs::set_permissions(&partial, Permissions::from_mode(0o644)).unwrap();
    let mut writer = begin(&folder, Some(1 << 20)).unwrap();
    assert_eq!(mode_of(&partial), 0o600);
    writer.write_at(4096, b"block").unwrap();
    drop(writer);
    assert_eq!(names(&folder), [".file.rp-partial"]);
    assert_eq!(fs::metadata(&partial).unwrap().len(), 4096 + 5);
    assert_eq!(mode_of(&partial), 0o600);
}

#[test]
fn a_second_writer_is_told_that_the_file_is_busy() {
    //= spec/20-copy.md#files
    //= type=test
    //# A receiver MUST hold an exclusive lock on the partial file while it writes, where the file
    //# system has locks.
    let folder = tempfile::tempdir().unwrap();
    let mut first = begin(&folder, None).unwrap();
    first.write_at(0, b"first").unwrap();
    let error = begin(&folder, None).unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    first.commit(&Attributes::default(), false).unwrap();
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"first");
    begin(&folder, None).unwrap().discard();
    assert_eq!(names(&folder), ["file"]);
}

#[test]
fn a_file_larger_than_the_disk_is_refused_before_anything_is_written() {
    //= spec/20-copy.md#files
    //= type=test
    //# A receiver that knows the size MUST refuse a file that does not fit the free space before
    //# it takes any data.
    let folder = tempfile::tempdir().unwrap();
    for size in [1 << 60, u64::MAX] {
        let error = begin(&folder, Some(size)).unwrap_err();
        assert_eq!(error.status(), Status::NoSpace, "{error}");
    }
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn mode_and_time_are_kept_only_when_asked() {
    let attributes = Attributes {
        size: Some(1),
        //= spec/20-copy.md#files
        //= type=test
        //# A receiver MUST NOT give a file set-user-id, set-group-id or sticky bits, unless it runs as root for
        //# its own user, who wants modes kept.
        mode: Some(0o7753),
        modified: Some(Modified {
            seconds: -5,
            nanos: 250,
        }),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let copy = |preserve| {
        let mut writer = begin(&folder, Some(1)).unwrap();
        writer.write_at(0, b"x").unwrap();
        writer.commit(&attributes, preserve).unwrap();
    };
    copy(true);
    assert_eq!(mode_of(&file), 0o753);
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-5, 250));
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    copy(false);
    assert_eq!(mode_of(&file), 0o640);
    assert!(fs::metadata(&file).unwrap().mtime() > 0);
    fs::remove_file(&file).unwrap();
    copy(false);
    assert_eq!(mode_of(&file), 0o753 & !umask());
}

#[test]
fn links_in_place_of_the_partial_file_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    let partial = folder.path().join(".file.rp-partial");
    symlink(&elsewhere, &partial).unwrap();
    assert!(begin(&folder, None).is_err());
    fs::remove_file(&partial).unwrap();
    fs::hard_link(&elsewhere, &partial).unwrap();
    assert!(begin(&folder, None).is_err());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
}

#[test]
fn a_link_in_place_of_the_target_is_replaced_and_its_target_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, folder.path().join("file")).unwrap();
    let mut writer = begin(&folder, None).unwrap();
    writer.write_at(0, b"new").unwrap();
    writer.commit(&Attributes::default(), false).unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"new");
}

#[test]
fn large_files_are_flushed_while_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let size = 48 << 20;
    let mut writer = begin(&folder, Some(size)).unwrap();
    let piece = vec![7; 1 << 20];
    for index in 0..48 {
        writer.write_at(index << 20, &piece).unwrap();
    }
    assert!(format!("{:?}", writer.flusher).contains("JoinHandle"));
    writer.commit(&Attributes::default(), false).unwrap();
    assert_eq!(
        fs::metadata(folder.path().join("file")).unwrap().len(),
        size
    );
}

#[test]
fn the_longest_name_still_has_a_partial_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = "n".repeat(255);
    let destination = Destination::local(&folder.path().join(&name)).unwrap();
    let mut writer = Box::new(Writer::create(destination, None).unwrap());
    writer.write_at(0, b"x").unwrap();
    writer.commit(&Attributes::default(), false).unwrap();
    assert_eq!(names(&folder), [name]);
}

#[test]
fn a_partial_file_is_not_renamed_by_a_writer_it_does_not_belong_to() {
    //= spec/20-copy.md#files
    //= type=test
    //# A receiver MUST NOT rename a partial file that another writer has put in place of its own.
    let folder = tempfile::tempdir().unwrap();
    let mut writer = begin(&folder, None).unwrap();
    writer.write_at(0, b"ours").unwrap();
    let partial = folder.path().join(".file.rp-partial");
    fs::remove_file(&partial).unwrap();
    fs::write(&partial, "half of theirs").unwrap();
    let error = writer.commit(&Attributes::default(), false).unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    assert_eq!(names(&folder), [".file.rp-partial"]);
}

#[test]
fn a_partial_name_that_a_whole_file_kept_does_not_stop_the_next_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (file, partial) = (
        folder.path().join("file"),
        folder.path().join(".file.rp-partial"),
    );
    fs::write(&file, "old").unwrap();
    fs::hard_link(&file, &partial).unwrap();
    let mut writer = begin(&folder, Some(3)).unwrap();
    writer.write_at(0, b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"old");
    writer.commit(&Attributes::default(), false).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(names(&folder), ["file"]);
}

#[test]
fn what_a_file_system_cannot_do_is_one_line() {
    let describe = |shortfalls: &[Shortfall]| {
        let all: Shortfalls = shortfalls.iter().copied().collect();
        all.describe("file")
    };
    assert_eq!(describe(&[]), "");
    assert_eq!(
        describe(&[Shortfall::Time, Shortfall::Time]),
        "file: copied, but its file system cannot set its time"
    );
    assert_eq!(
        describe(&[Shortfall::Durability, Shortfall::Lock, Shortfall::Mode]),
        "file: copied, but its file system cannot lock it against a second copy, set its \
         permissions or say when it is on the disk"
    );
}

#[test]
fn a_size_that_is_only_announced_takes_no_space_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let taken = || {
        let partial = fs::metadata(folder.path().join(".file.rp-partial"));
        partial.unwrap().blocks() * 512
    };
    let megabyte = vec![7; 1 << 20];
    let mut writer = begin(&folder, Some(512 << 20)).unwrap();
    assert_eq!(taken(), 0);
    for index in 0..8 {
        let written = (index + 1) << 20;
        writer.write_at(index << 20, &megabyte).unwrap();
        assert!((written..=3 * written).contains(&taken()), "{}", taken());
    }
    // What was set aside and not used is given back, whole or not.
    drop(writer);
    assert!(taken() <= 9 << 20, "{}", taken());
}

/// Bytes that this process has read by system calls.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn fifty_gigabytes_are_gone_on_with_and_nothing_of_them_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (size, version) = (50 << 30, [5; 16]);
    let destination = || Destination::local(&folder.path().join("file")).unwrap();
    let partial = File::create(folder.path().join(".file.rp-partial")).unwrap();
    partial.set_len(size).unwrap();
    drop(partial);
    let at = Arc::clone(&destination().folder);
    let name = journal_name(&destination().name);
    let mut journal = Journal::new(at, name, size, version);
    let there = (0..size / GROUP).filter(|&index| index != 7);
    let groups = there.map(|index| (index, [1; 32])).collect();
    journal.append(&groups).unwrap();
    let before = bytes_read();
    let writer = Writer::begin(destination(), Resume::Auto).unwrap();
    let missing = vec![(7 * GROUP, GROUP)];
    assert_eq!(writer.resumable(), Some((version, missing)));
    let writer = writer.announce(Some(size), Some(version)).unwrap();
    assert_eq!(writer.known().len() as u64, size / GROUP - 1);
    // The journal alone takes 2.2 MB.
    assert!(bytes_read() - before < 4 << 20);
}
