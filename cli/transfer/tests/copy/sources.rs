//! Sources that are not what they seem: sizes that lie, files that change while they are read.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
    thread,
};

use rp_transfer::{
    error::Error,
    message::{Attributes, Message, Status},
    receiver::Receiver,
    sender::Sender,
    session::{Half, Output, Summary},
};

use crate::{
    content, into_file,
    link::{STREAM, Side, carry},
    put, source, status,
};

/// Pushes an open file to the file `target` of a new folder; gives what was announced, what arrived
/// and how it ended for the sender.
fn push_file(path: &Path) -> (Attributes, Vec<u8>, Result<Summary, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let mut sender = Sender::push(put(), source(path), Arc::default());
    let Output::Message(Message::Put(put)) = sender.poll() else {
        panic!("a sender begins with Put");
    };
    let target = folder.path().join("target");
    let mut receiver = Receiver::accept(&put, into_file(&target), Arc::default());
    let (sent, _) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    (put.attributes, fs::read(target).unwrap_or_default(), sent)
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_claim_another_size_than_they_have_are_read_to_their_end() {
    //= spec/20-copy.md#data
    //= type=test
    //# A sender MUST check such a claim against the beginning of the file before it announces a
    //# size.
    //= spec/20-copy.md#data
    //= type=test
    //# A sender MUST NOT announce a size that the beginning of the file contradicts.
    // One says 0 bytes and has some, one says a page and has less, one says 0 and has many.
    for (path, claimed) in [
        ("/proc/version", 0),
        ("/sys/devices/system/cpu/online", 4096),
        ("/proc/kallsyms", 0),
    ] {
        let path = Path::new(path);
        assert_eq!(fs::metadata(path).unwrap().len(), claimed, "{path:?}");
        let (announced, arrived, sent) = push_file(path);
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.is_empty());
        assert!(arrived == bytes, "{path:?}");
        assert_eq!(sent.unwrap().bytes, bytes.len() as u64);
        let small = bytes.len() < 60_000;
        assert_eq!(announced.size, small.then_some(bytes.len() as u64));
    }
}

#[test]
fn empty_and_sparse_files_keep_their_announced_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    for size in [0, 1, 65_535, 65_536, 65_537, 3 << 20] {
        File::create(&path).unwrap().set_len(size).unwrap();
        let (announced, arrived, sent) = push_file(&path);
        assert_eq!(sent.unwrap().bytes, size);
        assert_eq!(arrived.len() as u64, size);
        assert_eq!(announced.size, Some(size));
    }
}

#[test]
fn a_source_that_grows_or_is_touched_is_told_as_changed() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# The sender MUST send Done with source-changed in place of Digest when size or modification
    //# time of the file differ from what they were when reading began.
    type Change = fn(&Path);
    let changes: [Change; 3] = [
        |path| fs::write(path, content(900_000)).unwrap(),
        |path| fs::write(path, content(100_000)).unwrap(),
        |path| {
            let time = std::time::SystemTime::UNIX_EPOCH;
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(time).unwrap();
        },
    ];
    for change in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        fs::write(&path, content(800_000)).unwrap();
        let mut sender = Sender::serve(STREAM, source(&path), Arc::default());
        assert!(matches!(sender.poll(), Output::Message(Message::Ready(_))));
        assert!(matches!(sender.poll(), Output::Data(_)));
        change(&path);
        let over = Side::new(&mut sender).run_to_the_end();
        assert_eq!(status(&over), Status::SourceChanged);
    }
}

#[test]
fn a_change_whose_time_was_put_back_is_noticed_and_a_new_name_is_no_change() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# When only the time of its last status change differs, the sender MUST send Done with
    //# source-changed unless a second reading of the file gives the same digest.
    type Change = fn(&Path);
    let changes: [(Change, Status); 4] = [
        (
            |path| {
                let before = fs::metadata(path).unwrap().modified().unwrap();
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(b"X", 5).unwrap();
                file.set_modified(before).unwrap();
            },
            Status::SourceChanged,
        ),
        (
            |path| fs::hard_link(path, path.with_extension("link")).unwrap(),
            Status::Ok,
        ),
        (
            |path| fs::rename(path, path.with_extension("moved")).unwrap(),
            Status::Ok,
        ),
        (
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap(),
            Status::Ok,
        ),
    ];
    for (change, expected) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        fs::write(&path, content(800_000)).unwrap();
        let mut sender = Sender::serve(STREAM, source(&path), Arc::default());
        assert!(matches!(sender.poll(), Output::Message(Message::Ready(_))));
        assert!(matches!(sender.poll(), Output::Data(_)));
        wait_for_tick(&path);
        change(&path);
        let mut side = Side::new(&mut sender);
        let said = side.run();
        let seen = side.over.as_ref().map_or(Status::Ok, status);
        assert_eq!(seen, expected, "{said:?}");
    }
}

/// Waits until the clock that stamps status changes has moved on; it ticks a few hundred times a
/// second.
fn wait_for_tick(path: &Path) {
    let ctime = |path: &Path| {
        let data = fs::metadata(path).unwrap();
        (data.ctime(), data.ctime_nsec())
    };
    let stamped = path.with_extension("tick");
    while {
        fs::write(&stamped, "").unwrap();
        ctime(&stamped) == ctime(path)
    } {
        thread::yield_now();
    }
}
