//! Copies that were interrupted, in memory: what is sent when they go on.

use std::{
    fs::{self, File},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rp_transfer::{
    error::Error,
    message::{Data, Get, Groups, Message, Put, Ready, Resume, Sent, Status},
    path::Destination,
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::{Half, Input, Output, Summary},
    writer::Writer,
};
use tempfile::TempDir;

use crate::{
    content, into_file,
    link::{STREAM, Side, carry, shuffle},
    put, source, status,
};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB + 77;

type Both = (Result<Summary, Error>, Result<Summary, Error>);

/// A folder with a source and what a copy of it left that ended after the group `last`.
fn interrupted(last: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("source"),
        content(usize::try_from(SIZE).unwrap()),
    )
    .unwrap();
    let mut count = 0;
    let (sent, received) = push(&folder, Resume::Auto, &mut |blocks| {
        let kept = blocks.into_iter().filter(|_| {
            count += 1;
            count <= last * 4
        });
        kept.collect()
    });
    // What is cut off is no lie about the content: the partial file stays only if its copy broke off.
    assert!(sent.is_err() && received.is_err());
    folder
}

/// Pieces of the content and where they belong.
type Blocks = Vec<(u64, Bytes)>;

/// Sends `source` to `target`; a link that loses something has the connection break off there.
fn push(folder: &TempDir, resume: Resume, link: &mut dyn FnMut(Blocks) -> Blocks) -> Both {
    let offer = Put { resume, ..put() };
    let mut sender = Sender::push(offer, source(&folder.path().join("source")), Arc::default());
    let Output::Message(Message::Put(put)) = sender.poll() else {
        panic!("a sender begins with Put");
    };
    let path = folder.path().join("target");
    let open: OpenSink = Box::new(move |announced| {
        let writer = Writer::begin(Destination::local(&path)?, resume)?;
        let writer = writer.announce(announced.attributes.size, announced.version)?;
        Ok(Box::new(writer))
    });
    let mut receiver = Receiver::accept(&put, open, Arc::default());
    let broken = AtomicU64::new(0);
    let mut watched = |blocks: Vec<(u64, Bytes)>| {
        let bytes = |blocks: &[(u64, Bytes)]| -> u64 {
            blocks.iter().map(|block| block.1.len() as u64).sum()
        };
        let all = bytes(&blocks);
        let passed = link(blocks);
        broken.fetch_add(all - bytes(&passed), Ordering::Relaxed);
        passed
    };
    let mut breaking = Breaking(&mut receiver, &broken);
    carry(&mut sender, &mut breaking, &mut watched)
}

/// A receiver whose connection breaks off at the first loss.
struct Breaking<'a>(&'a mut Receiver, &'a AtomicU64);

impl Half for Breaking<'_> {
    fn handle(&mut self, input: Input) {
        match input {
            Input::DataEnd if self.1.load(Ordering::Relaxed) > 0 => {
                self.0.handle(Input::ControlEnd);
            }
            input => self.0.handle(input),
        }
    }

    fn poll(&mut self) -> Output {
        self.0.poll()
    }
}

fn is_whole(folder: &TempDir) -> bool {
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let names = fs::read_dir(folder.path()).unwrap().count();
    read("source") == read("target") && names == 2
}

#[test]
fn only_what_is_missing_is_sent_again() {
    //= spec/20-copy.md#groups
    //= type=test
    //# A sender of a file of more than one group whose size it announced MUST send Groups with the value of
    //# each group that it has sent.
    let folder = interrupted(4);
    assert!(folder.path().join(".target.rp-journal").exists());
    let mut bytes = 0;
    let mut seen = shuffle(7, 1200);
    let (sent, received) = push(&folder, Resume::Auto, &mut |blocks| {
        bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
        seen(blocks)
    });
    let sent = sent.unwrap();
    assert_eq!(sent, received.unwrap());
    let source = fs::read(folder.path().join("source")).unwrap();
    assert_eq!(sent.digest, *blake3::hash(&source).as_bytes());
    assert_eq!((sent.bytes, bytes), (SIZE, SIZE - 4 * MIB));
    assert!(is_whole(&folder));
}

#[test]
fn a_source_that_is_another_is_copied_from_its_beginning_and_that_is_said() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# A receiver MUST NOT go on with a partial file of another size or version.
    let folder = interrupted(4);
    let file = File::options()
        .write(true)
        .open(folder.path().join("source"))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
        .unwrap();
    let mut bytes = 0;
    let (sent, received) = push(&folder, Resume::Auto, &mut |blocks| {
        bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
        blocks
    });
    assert!(sent.unwrap().note.contains("the source is another"));
    received.unwrap();
    assert_eq!(bytes, SIZE);
    assert!(is_whole(&folder));
}

#[test]
fn what_was_damaged_on_the_disk_is_found_by_verify_and_sent_again() {
    let folder = interrupted(4);
    let partial = folder.path().join(".target.rp-partial");
    let mut held = fs::read(&partial).unwrap();
    held[usize::try_from(MIB).unwrap() + 5] ^= 1;
    fs::write(&partial, held).unwrap();
    let mut bytes = 0;
    let (sent, received) = push(&folder, Resume::Verify, &mut |blocks| {
        bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
        blocks
    });
    sent.unwrap();
    received.unwrap();
    assert_eq!(bytes, SIZE - 3 * MIB);
    assert!(is_whole(&folder));
}

#[test]
fn with_never_all_is_sent_anew() {
    let folder = interrupted(4);
    let mut bytes = 0;
    let (sent, received) = push(&folder, Resume::Never, &mut |blocks| {
        bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
        blocks
    });
    assert_eq!(sent.unwrap().note, "");
    received.unwrap();
    assert_eq!(bytes, SIZE);
    assert!(is_whole(&folder));
}

#[test]
fn a_group_that_arrives_damaged_is_sent_again() {
    //= spec/20-copy.md#groups
    //= type=test
    //# A receiver MUST compare each group with its value before it counts it as received.
    //= spec/20-copy.md#groups
    //= type=test
    //# A receiver SHOULD ask again for groups that differ from their values, and MUST give up after a few times.
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("source"),
        content(usize::try_from(SIZE).unwrap()),
    )
    .unwrap();
    let (mut bytes, mut damages) = (0, 1);
    let damaging = |bytes: &mut u64, damages: &mut i32, mut blocks: Vec<(u64, Bytes)>| {
        *bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
        if let Some((_, block)) = blocks.first_mut()
            && *damages > 0
        {
            *damages -= 1;
            let mut damaged = block.to_vec();
            damaged[99] ^= 1;
            *block = damaged.into();
        }
        blocks
    };
    let (sent, received) = push(&folder, Resume::Auto, &mut |blocks| {
        damaging(&mut bytes, &mut damages, blocks)
    });
    sent.unwrap();
    received.unwrap();
    assert!(is_whole(&folder));
    assert_eq!(bytes, SIZE + MIB);
    fs::remove_file(folder.path().join("target")).unwrap();
    (bytes, damages) = (0, i32::MAX);
    let (sent, received) = push(&folder, Resume::Auto, &mut |blocks| {
        damaging(&mut bytes, &mut damages, blocks)
    });
    assert_eq!(status(&received), Status::Integrity);
    assert_eq!(status(&sent), Status::Integrity);
    assert_eq!(bytes, SIZE + 3 * MIB);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A file that was begun at `path`, for a Get.
fn begun(path: &Path) -> (Get, OpenSink) {
    let writer = Writer::begin(Destination::local(path).unwrap(), Resume::Auto).unwrap();
    let (version, missing) = writer.resumable().unwrap();
    let get = Get {
        path: b"source".to_vec(),
        version: Some(version),
        missing: Some(missing),
        ..Get::default()
    };
    let open: OpenSink = Box::new(move |announced| {
        let writer = writer.announce(announced.attributes.size, announced.version)?;
        Ok(Box::new(writer))
    });
    (get, open)
}

#[test]
fn a_get_asks_for_what_is_missing_and_gets_all_of_another_content() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# A server MUST send all of a file whose version is not that of the Get.
    for is_changed in [false, true] {
        let folder = interrupted(4);
        if is_changed {
            let file = File::options()
                .write(true)
                .open(folder.path().join("source"))
                .unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let (get, open) = begun(&folder.path().join("target"));
        let mut receiver = Receiver::pull(get.clone(), false, open, Arc::default());
        receiver.poll();
        let from = source(&folder.path().join("source"));
        let mut sender = Sender::resume(&get, STREAM, from, Arc::default());
        let mut bytes = 0;
        let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| {
            bytes += blocks.iter().map(|block| block.1.len() as u64).sum::<u64>();
            blocks
        });
        sent.unwrap();
        assert_eq!(received.unwrap().bytes, SIZE);
        assert_eq!(bytes, if is_changed { SIZE } else { SIZE - 4 * MIB });
        assert!(is_whole(&folder));
    }
}

#[test]
fn ranges_that_nobody_asked_for_are_refused() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# A receiver MUST refuse ranges that it did not ask for.
    let folder = tempfile::tempdir().unwrap();
    let mut put = put();
    put.attributes.size = Some(SIZE);
    let data = Message::Data(Data {
        stream: STREAM,
        ranges: vec![(0, MIB)],
    });
    let open = into_file(&folder.path().join("target"));
    let mut receiver = Receiver::accept(&put, open, Arc::default());
    receiver.handle(Input::Message(data));
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
    let open = into_file(&folder.path().join("target"));
    let mut receiver = Receiver::pull(Get::default(), false, open, Arc::default());
    receiver.handle(Input::Message(Message::Ready(Ready {
        stream: Some(STREAM),
        missing: Some(vec![(0, MIB)]),
        ..Ready::default()
    })));
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
}

#[test]
fn ranges_that_are_no_whole_groups_of_the_file_are_refused() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# A sender MUST refuse ranges that are not whole groups of the file.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), content(3 << 20)).unwrap();
    for range in [(1, MIB), (0, MIB - 1), (2 * MIB, 2 * MIB), (4 * MIB, MIB)] {
        let from = source(&folder.path().join("source"));
        let mut sender = Sender::push(put(), from, Arc::default());
        sender.poll();
        sender.handle(Input::Message(Message::Ready(Ready {
            missing: Some(vec![range]),
            ..Ready::default()
        })));
        let over = Side::new(&mut sender).run_to_the_end();
        assert_eq!(status(&over), Status::Protocol, "{range:?}");
    }
}

#[test]
fn a_sender_that_says_nothing_of_its_groups_or_of_too_many_is_not_believed() {
    //= spec/20-copy.md#groups
    //= type=test
    //# A receiver MUST bound how many values it keeps of groups whose bytes or values have not come.
    let folder = tempfile::tempdir().unwrap();
    let mut put = put();
    put.attributes.size = Some(1 << 60);
    // A file system that has this much space is none of ours: nothing is written at all.
    struct Nothing;
    impl rp_transfer::writer::Sink for Nothing {
        fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn read_at(&mut self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Ok(())
        }
        fn is_ordered(&self) -> bool {
            false
        }
        fn commit(
            self: Box<Self>,
            _: &rp_transfer::message::Attributes,
            _: bool,
        ) -> Result<String, Error> {
            Ok(String::new())
        }
        fn discard(self: Box<Self>) {}
    }
    let open: OpenSink = Box::new(|_| Ok(Box::new(Nothing)));
    let mut receiver = Receiver::accept(&put, open, Arc::default());
    for first in 0..100 {
        receiver.handle(Input::Message(Message::Groups(Groups {
            first: first * 2000,
            values: vec![[0; 32]; 2000],
        })));
    }
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
    put.attributes.size = Some(2 * MIB);
    let open = into_file(&folder.path().join("target"));
    let mut receiver = Receiver::accept(&put, open, Arc::default());
    receiver.handle(Input::Blocks(vec![(0, content(2 << 20).into())]));
    receiver.handle(Input::DataEnd);
    receiver.handle(Input::Message(Message::Sent(Sent { size: 2 * MIB })));
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Integrity);
}
