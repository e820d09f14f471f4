//! Files with holes, in memory: what is sent of them, and what is believed.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
};

use rp_transfer::{
    message::{Get, Message, Put, Ranges, Status},
    path::Destination,
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::{Half, Output, Progress},
    writer::Writer,
};
use tempfile::TempDir;

use crate::{
    content, into_file,
    link::{STREAM, carry, shuffle},
    put, source, status,
};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 40 * MIB + 77;

/// A folder with a source that has data in three of its groups only.
fn planted() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("source")).unwrap();
    file.set_len(SIZE).unwrap();
    for group in [7, 8, 30] {
        file.write_all_at(&content(5000), group * MIB + 4096)
            .unwrap();
    }
    folder
}

fn into_holes(folder: &TempDir) -> OpenSink {
    let path = folder.path().join("target");
    Box::new(move |announced| {
        let writer = Writer::create(Destination::local(&path)?, announced.attributes.size)?;
        Ok(Box::new(writer.sparse(true)))
    })
}

fn check(folder: &TempDir) {
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    assert!(fs::read(&source).unwrap() == fs::read(&target).unwrap());
    assert!(fs::metadata(&target).unwrap().blocks() * 512 <= 3 * 16_384);
}

#[test]
fn holes_are_not_sent_and_are_holes_again() {
    let folder = planted();
    let from = folder.path().join("source");
    let expected = *blake3::hash(&fs::read(&from).unwrap()).as_bytes();
    let mut bytes = 0;
    let mut link = shuffle(5, 1200);
    let mut counting = |blocks: Vec<(u64, bytes::Bytes)>| {
        bytes += blocks.iter().map(|block| block.1.len()).sum::<usize>();
        link(blocks)
    };
    let progress = Arc::new(Progress::default());
    let put = Put {
        sparse: true,
        ..put()
    };
    let mut sender = Sender::push(put, source(&from), Arc::clone(&progress));
    let Output::Message(Message::Put(put)) = sender.poll() else {
        panic!("a sender begins with Put");
    };
    let mut receiver = Receiver::accept(&put, into_holes(&folder), Arc::default());
    let (sent, received) = carry(&mut sender, &mut receiver, &mut counting);
    assert_eq!(sent.unwrap().digest, expected);
    assert_eq!(received.unwrap().digest, expected);
    // The first group, and the three with data.
    assert_eq!(bytes as u64, 4 * MIB);
    assert_eq!(progress.bytes(), SIZE);
    check(&folder);
    fs::remove_file(folder.path().join("target")).unwrap();
    // The same the other way round.
    let get = Get {
        path: b"source".to_vec(),
        sparse: true,
        ..Get::default()
    };
    let mut receiver = Receiver::pull(get.clone(), false, into_holes(&folder), Arc::default());
    receiver.poll();
    let mut sender = Sender::resume(&get, STREAM, source(&from), Arc::default());
    let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    assert_eq!(sent.unwrap().digest, expected);
    assert_eq!(received.unwrap().digest, expected);
    check(&folder);
}

#[test]
fn a_client_that_does_not_know_holes_is_sent_none() {
    //= spec/20-copy.md#holes
    //= type=test
    //# A server MUST NOT send *holds* to a client that has not set *sparse*.
    let folder = planted();
    let get = Get::default();
    let file = source(&folder.path().join("source"));
    let mut sender = Sender::resume(&get, STREAM, file, Arc::default());
    let Output::Message(Message::Ready(ready)) = sender.poll() else {
        panic!("a server begins with Ready");
    };
    assert_eq!(ready.holds, None);
}

#[test]
fn holes_that_cannot_be_are_refused() {
    //= spec/20-copy.md#holes
    //= type=test
    //# A receiver MUST refuse *holds* where groups are not proven, and ranges in it that are not whole groups of
    //# the file.
    let refusal = |size: u64, holds: Ranges| {
        let folder = tempfile::tempdir().unwrap();
        let mut put = Put {
            sparse: true,
            holds: Some(holds),
            ..put()
        };
        put.attributes.size = Some(size);
        let open = into_file(&folder.path().join("target"));
        let mut receiver = Receiver::accept(&put, open, Arc::default());
        let Output::Message(Message::Done(done)) = receiver.poll() else {
            return Status::Ok;
        };
        let Output::Over(result) = receiver.poll() else {
            panic!("after Done it is over");
        };
        assert_eq!(done.status, status(&result));
        done.status
    };
    assert_eq!(refusal(3 * MIB, vec![(0, MIB), (2 * MIB, MIB)]), Status::Ok);
    for (size, holds) in [
        (MIB, vec![(0, MIB)]),
        (3 * MIB, vec![(0, 5)]),
        (3 * MIB, vec![(5, MIB)]),
        (3 * MIB, vec![(0, 4 * MIB)]),
        (3 * MIB + 5, vec![(0, 3 * MIB + 4)]),
    ] {
        assert_eq!(
            refusal(size, holds.clone()),
            Status::Protocol,
            "{size} {holds:?}"
        );
    }
}
