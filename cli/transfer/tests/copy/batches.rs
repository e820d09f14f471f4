//! Batches in memory: what is stored, what fails alone, and what ends them.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use bytes::Bytes;
use rp_transfer::{
    batch::{
        BatchReceiver, BatchSender, Item, MAX_ENTRIES, MAX_FILE, OpenPlaces, Outcome, Report,
        Store, StoreOptions,
    },
    error::Error,
    message::{Attributes, Depth, Entry, Kind, Message, PutBatch, Status},
    path::{RemotePath, Root},
    session::{Half, Input, Output, Summary},
    walk::{Links, Walk, WalkOptions},
};
use tempfile::TempDir;

use crate::{
    link::{STREAM, Side, carry},
    status,
};

pub(crate) fn folders() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("from")).unwrap();
    fs::create_dir(folder.path().join("to")).unwrap();
    folder
}

pub(crate) fn root(folder: &TempDir, name: &str) -> Arc<Root> {
    Arc::new(Root::open(&folder.path().join(name)).unwrap())
}

pub(crate) fn path(path: &[u8]) -> RemotePath {
    RemotePath::parse(path).unwrap()
}

/// What there is to send, folders first.
fn items(root: &Arc<Root>) -> Vec<Item> {
    let options = WalkOptions {
        depth: Depth::All,
        links: Links::Keep,
        one_file_system: false,
        ..WalkOptions::default()
    };
    Walk::new(Arc::clone(root), path(b""), options)
        .map(|found| found.unwrap())
        .filter(|entry| !entry.path.is_empty())
        .map(|entry| Item {
            root: Arc::clone(root),
            source: path(&entry.path),
            entry,
        })
        .collect()
}

fn put() -> PutBatch {
    PutBatch {
        stream: STREAM,
        ..PutBatch::default()
    }
}

fn store(folder: &TempDir, report: &Report) -> Store {
    let options = StoreOptions::default();
    Store::new(root(folder, "to"), path(b""), options, report.clone())
}

/// Sends everything in `from` to `to`; gives what the sender knows of it in the end.
fn push(folder: &TempDir, items: Vec<Item>) -> (Result<Summary, Error>, Outcome) {
    let report = Report::default();
    let mut sender = BatchSender::push(put(), items, report.clone(), Arc::default());
    sender.poll();
    let mut receiver = BatchReceiver::accept(&put(), Ok(store(folder, &Report::default())));
    let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    received.unwrap();
    (sent, report.take())
}

/// Asks for `paths` of `from`, all of which are to be in `to`.
fn pull(folder: &TempDir, paths: &[&[u8]]) -> (Result<Summary, Error>, Outcome) {
    let from = root(folder, "from");
    let asked: Vec<_> = paths.iter().map(|path| path.to_vec()).collect();
    let items = asked.iter().map(|asked| Item {
        root: Arc::clone(&from),
        source: path(asked),
        entry: Entry {
            path: asked.clone(),
            ..Entry::default()
        },
    });
    let mut sender = BatchSender::serve(STREAM, items.collect());
    let report = Report::default();
    let mut receiver = BatchReceiver::pull(Vec::new(), asked, store(folder, &report));
    // The request, which the sender was made from.
    for _ in 0..=paths.len() {
        receiver.poll();
    }
    let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    sent.unwrap();
    (received, report.take())
}

/// A receiver that was handed `entries` on its data stream, and what it came to.
fn receive(receiver: BatchReceiver, entries: &[(Entry, &[u8])]) -> Result<Summary, Error> {
    let mut receiver = receiver;
    let mut bytes = Vec::new();
    for (entry, content) in entries {
        Message::Entry(entry.clone()).encode(&mut bytes);
        bytes.extend_from_slice(content);
    }
    // Byte by byte, as the worst of networks would.
    for (offset, byte) in bytes.iter().enumerate() {
        let block = (offset as u64, Bytes::copy_from_slice(&[*byte]));
        receiver.handle(Input::Blocks(vec![block]));
    }
    receiver.handle(Input::DataEnd);
    Side::new(&mut receiver).run_to_the_end()
}

fn file(path: &[u8], content: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: Kind::File,
        attributes: Attributes {
            size: Some(content.len() as u64),
            ..Attributes::default()
        },
        digest: Some(*blake3::hash(content).as_bytes()),
        ..Entry::default()
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_tree_is_the_same_at_the_other_end() {
    //= spec/20-copy.md#lists
    //= type=test
    //# A server MUST tell of a folder before it tells of what is in it.
    let folder = folders();
    let from = folder.path().join("from");
    fs::create_dir_all(from.join("a/b/empty")).unwrap();
    for index in 0..600 {
        let name = format!("{}/{index}", ["a", "a/b"][index % 2]);
        fs::write(from.join(name), vec![7; index * 3]).unwrap();
    }
    symlink("a/b", from.join("link")).unwrap();
    let (sent, outcome) = push(&folder, items(&root(&folder, "from")));
    sent.unwrap();
    assert_eq!(outcome.failures, []);
    let there = |items: Vec<Item>| {
        let mut there: Vec<_> = items
            .into_iter()
            .map(|item| (item.entry.path, item.entry.kind, item.entry.attributes.size))
            .collect();
        there.sort_by(|a, b| a.0.cmp(&b.0));
        there
    };
    let (before, after) = (root(&folder, "from"), root(&folder, "to"));
    assert_eq!(there(items(&after)), there(items(&before)));
    let to = folder.path().join("to");
    assert_eq!(fs::read(to.join("a/b/599")).unwrap(), vec![7; 599 * 3]);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a/b"));
}

#[test]
fn what_cannot_be_read_or_stored_fails_alone() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A server that cannot read a file it was asked for MUST send an Entry with the status in its place.
    //= spec/20-copy.md#batches
    //= type=test
    //# A server that cannot store an entry MUST send an Entry with its path and the status before Done.
    let folder = folders();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for name in ["one", "two", "three"] {
        fs::write(from.join(name), name).unwrap();
    }
    let (received, outcome) = pull(&folder, &[b"one", b"none", b"three"]);
    received.unwrap();
    let failed = |outcome: &Outcome| -> Vec<_> {
        let failures = outcome.failures.iter();
        failures
            .map(|failure| (failure.path.clone(), failure.why.status))
            .collect()
    };
    assert_eq!(failed(&outcome), [(b"none".to_vec(), Status::NotFound)]);
    assert_eq!(outcome.files, 2);
    fs::create_dir(to.join("two")).unwrap();
    let (sent, outcome) = push(&folder, items(&root(&folder, "from")));
    sent.unwrap();
    assert_eq!(failed(&outcome), [(b"two".to_vec(), Status::NotAFile)]);
    assert_eq!(count(&to), 3);
}

#[test]
fn a_file_with_another_digest_does_not_take_its_name() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A file whose digest differs from that of its entry MUST NOT take its name.
    let folder = folders();
    let report = Report::default();
    let receiver = BatchReceiver::accept(&put(), Ok(store(&folder, &report)));
    let bad = Entry {
        digest: file(b"bad", b"other").digest,
        ..file(b"bad", b"bytes")
    };
    let entries = [(file(b"good", b"bytes"), &b"bytes"[..]), (bad, b"bytes")];
    receive(receiver, &entries).unwrap();
    assert_eq!(fs::read(folder.path().join("to/good")).unwrap(), b"bytes");
    assert_eq!(count(&folder.path().join("to")), 1);
}

#[test]
fn what_nobody_asked_for_is_refused() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A client MUST refuse an entry that it did not ask for.
    let folder = folders();
    let asked = || vec![b"one".to_vec(), b"two".to_vec()];
    for entries in [
        vec![(file(b"other", b""), &b""[..])],
        vec![(file(b"two", b""), &b""[..])],
        vec![(file(b"one", b""), &b""[..])],
        vec![
            (file(b"one", b""), &b""[..]),
            (file(b"two", b""), b""),
            (file(b"one", b""), b""),
        ],
    ] {
        let store = store(&folder, &Report::default());
        let receiver = BatchReceiver::pull(Vec::new(), asked(), store);
        let refused = receive(receiver, &entries);
        assert_eq!(status(&refused), Status::Protocol);
    }
    let names: Vec<_> = fs::read_dir(folder.path().join("to")).unwrap().collect();
    assert!(names.len() <= 2, "{names:?}");
    assert!(!folder.path().join("to/other").exists());
}

#[test]
fn what_is_too_much_for_a_batch_is_refused_before_it_comes() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A receiver MUST refuse a batch with a file of more than 1 MiB before it sets memory aside for it.
    //= spec/20-copy.md#batches
    //= type=test
    //# A batch of more than 1024 entries MUST be refused.
    let folder = folders();
    let accept = || BatchReceiver::accept(&put(), Ok(store(&folder, &Report::default())));
    let mut huge = file(b"huge", b"");
    huge.attributes.size = Some(MAX_FILE + 1);
    assert_eq!(status(&receive(accept(), &[(huge, b"")])), Status::Protocol);
    let many = |count: usize| -> Vec<_> {
        (0..count)
            .map(|index| (file(index.to_string().as_bytes(), b""), &b""[..]))
            .collect()
    };
    assert_eq!(
        status(&receive(accept(), &many(MAX_ENTRIES + 1))),
        Status::Protocol
    );
    receive(accept(), &many(MAX_ENTRIES)).unwrap();
}

#[test]
fn a_batch_that_breaks_off_keeps_what_is_whole() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A receiver SHOULD give what is whole its name when a batch ends early.
    let folder = folders();
    let mut receiver = BatchReceiver::accept(&put(), Ok(store(&folder, &Report::default())));
    let mut bytes = Vec::new();
    for name in [b"one", b"two"] {
        Message::Entry(file(name, b"bytes")).encode(&mut bytes);
        bytes.extend_from_slice(b"bytes");
    }
    bytes.pop();
    receiver.handle(Input::Blocks(vec![(0, bytes.into())]));
    receiver.handle(Input::ControlEnd);
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
    assert_eq!(fs::read(folder.path().join("to/one")).unwrap(), b"bytes");
    assert_eq!(count(&folder.path().join("to")), 1);
}

#[test]
fn a_hostile_sender_reaches_nothing_outside_of_the_root() {
    let folder = folders();
    let to = folder.path().join("to");
    fs::write(folder.path().join("secret"), "theirs").unwrap();
    let link = Entry {
        path: b"out".to_vec(),
        kind: Kind::Link,
        target: b"..".to_vec(),
        ..Entry::default()
    };
    let beyond = |path: &[u8]| (file(path, b"planted"), &b"planted"[..]);
    let report = Report::default();
    let options = StoreOptions::default();
    let store = Store::new(root(&folder, "to"), path(b""), options, report);
    let entries = [
        (link, &b""[..]),
        beyond(b"out/secret"),
        beyond(b"out/new"),
        beyond(b"../new"),
        beyond(b"/tmp/new"),
        beyond(b"a/../../new"),
        beyond(b"line\nfeed"),
        beyond(b".good.rp-partial"),
        beyond(&[b'x'; 256]),
        beyond(b"good"),
    ];
    let mut receiver = BatchReceiver::accept(&put(), Ok(store));
    let mut bytes = Vec::new();
    for (entry, content) in &entries {
        Message::Entry(entry.clone()).encode(&mut bytes);
        bytes.extend_from_slice(content);
    }
    receiver.handle(Input::Blocks(vec![(0, bytes.into())]));
    receiver.handle(Input::DataEnd);
    let mut failed = 0;
    loop {
        match receiver.poll() {
            Output::Message(Message::Entry(entry)) => {
                assert!(entry.failure.is_some());
                failed += 1;
            }
            Output::Over(result) => break drop(result.unwrap()),
            _ => {}
        }
    }
    assert_eq!(failed, entries.len() - 2);
    assert_eq!(fs::read(folder.path().join("secret")).unwrap(), b"theirs");
    assert_eq!(count(folder.path()), 3);
    assert_eq!(fs::read(to.join("good")).unwrap(), b"planted");
    assert_eq!(count(&to), 2);
}

#[test]
fn a_walk_goes_round_no_circle_and_tells_of_no_partial_file() {
    //= spec/20-copy.md#lists
    //= type=test
    //# A server that follows links MUST NOT go into a folder that is one of those it is in.
    //= spec/20-copy.md#lists
    //= type=test
    //# A server MUST NOT tell of partial files.
    let folder = folders();
    let from = folder.path().join("from");
    fs::create_dir_all(from.join("a/b")).unwrap();
    symlink("../..", from.join("a/b/up")).unwrap();
    symlink("b", from.join("a/again")).unwrap();
    fs::write(from.join("a/.x.rp-partial"), "half").unwrap();
    fs::write(from.join("a/.hidden"), "whole").unwrap();
    let options = WalkOptions {
        depth: Depth::All,
        links: Links::Follow,
        one_file_system: false,
        ..WalkOptions::default()
    };
    let mut found: Vec<_> = Walk::new(root(&folder, "from"), path(b""), options)
        .map(|found| match found {
            Ok(entry) => (String::from_utf8(entry.path).unwrap(), true),
            Err((path, _)) => (String::from_utf8(path).unwrap(), false),
        })
        .collect();
    found.sort();
    let expected = [
        ("", true),
        ("a", true),
        ("a/.hidden", true),
        ("a/again", true),
        ("a/again/up", false),
        ("a/b", true),
        ("a/b/up", false),
    ];
    assert_eq!(
        found,
        expected.map(|(path, whole)| (path.to_owned(), whole))
    );
}

#[test]
fn removing_a_folder_follows_no_link() {
    //= spec/20-copy.md#lists
    //= type=test
    //# Removing a folder MUST NOT follow a symbolic link.
    let folder = folders();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(from.join("kept"), "x").unwrap();
    fs::create_dir_all(to.join("gone/deep")).unwrap();
    symlink("../../../from", to.join("gone/deep/out")).unwrap();
    symlink("../../from", to.join("gone/out")).unwrap();
    let opened = root(&folder, "to");
    let refused = opened.remove(&path(b"gone"), false).unwrap_err();
    assert_eq!(refused.status(), Status::NotAFile);
    opened.remove(&path(b"gone"), true).unwrap();
    assert_eq!(count(&to), 0);
    assert_eq!(count(&from), 1);
}

#[test]
fn without_a_place_for_one_more_open_file_those_that_are_written_take_their_names() {
    let folder = folders();
    // Two files may be open, as many as there are owners of the count.
    let places = Arc::new(());
    let count = Arc::clone(&places);
    let take = move || (Arc::strong_count(&count) < 4).then(|| Arc::clone(&count));
    let mut store = Store::new(
        root(&folder, "to"),
        path(b""),
        StoreOptions::default(),
        Report::default(),
    )
    .places(OpenPlaces::new(take));
    let named = || {
        let there = fs::read_dir(folder.path().join("to")).unwrap();
        let names = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).count()
    };
    let content = b"content";
    for (index, there) in [0, 0, 2, 2, 4].into_iter().enumerate() {
        let entry = Entry {
            path: index.to_string().into_bytes(),
            kind: Kind::File,
            attributes: Attributes {
                size: Some(content.len() as u64),
                ..Attributes::default()
            },
            digest: Some(*blake3::hash(content).as_bytes()),
            ..Entry::default()
        };
        store.take(&entry, content);
        assert_eq!(named(), there, "after {index}");
    }
    store.commit();
    assert_eq!(named(), 5);
    drop(store);
    assert_eq!(Arc::strong_count(&places), 1);
}
