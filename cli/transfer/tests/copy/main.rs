//! Whole copies in memory: a sender and a receiver with nothing but their messages between them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod batches;
mod chunks;
mod holes;
mod known;
mod line;
mod link;
mod older;
mod resume;
mod sources;
mod window;

use std::{
    fs::{self, File},
    io::{self, Cursor, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use rp_transfer::{
    error::Error,
    message::{Attributes, DecodeError, Digest, Done, Get, Message, Put, Ready, Resume, Status},
    path::Destination,
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::{Half, Input, Output, Progress, Summary},
    source::Source,
    writer::{Sink, StreamSink, Writer},
};
use tempfile::TempDir;

use self::link::{Link, STREAM, Side, carry, shuffle};

fn content(size: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(b"copy").finalize_xof();
    let mut bytes = vec![0; size];
    reader.fill(&mut bytes);
    bytes
}

fn put() -> Put {
    Put {
        stream: STREAM,
        path: b"target".to_vec(),
        preserve: true,
        ..Put::default()
    }
}

fn source(path: &Path) -> Source {
    Source::file(File::open(path).unwrap(), "source").unwrap()
}

fn into_file(path: &Path) -> OpenSink {
    let path = path.to_owned();
    Box::new(move |announced| {
        let destination = Destination::local(&path)?;
        let writer = Writer::begin(destination, Resume::Auto)?;
        let writer = writer.announce(announced.attributes.size, announced.version)?;
        Ok(Box::new(writer))
    })
}

/// Pushes the file `source` of `folder` to its file `target`.
fn push(folder: &TempDir, link: Link<'_>) -> (Result<Summary, Error>, Result<Summary, Error>) {
    let mut sender = Sender::push(put(), source(&folder.path().join("source")), Arc::default());
    let Output::Message(Message::Put(put)) = sender.poll() else {
        panic!("a sender begins with Put");
    };
    let open = into_file(&folder.path().join("target"));
    let mut receiver = Receiver::accept(&put, open, Arc::default());
    carry(&mut sender, &mut receiver, link)
}

fn status(result: &Result<Summary, Error>) -> Status {
    result.as_ref().map_or_else(Error::status, |_| Status::Ok)
}

#[test]
fn shuffled_blocks_arrive_as_the_same_file() {
    //= spec/20-copy.md#data
    //= type=test
    //# A receiver SHOULD write each block where it belongs in the order of arrival.
    for (seed, size) in [0, 1, 1200, 262_144, 1 << 20, (5 << 20) + 77]
        .into_iter()
        .enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        let bytes = content(size);
        fs::write(folder.path().join("source"), &bytes).unwrap();
        let (sent, received) = push(&folder, &mut shuffle(seed as u64, 1200));
        let sent = sent.unwrap();
        assert_eq!(sent, received.unwrap());
        assert_eq!(sent.bytes, size as u64);
        assert_eq!(sent.digest, *blake3::hash(&bytes).as_bytes());
        assert_eq!(fs::read(folder.path().join("target")).unwrap(), bytes);
    }
}

#[test]
fn mode_and_time_travel_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("source"), folder.path().join("target"));
    fs::write(&from, "x").unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 7);
    File::options()
        .write(true)
        .open(&from)
        .unwrap()
        .set_modified(time)
        .unwrap();
    push(&folder, &mut |blocks| blocks).1.unwrap();
    let (before, after) = (fs::metadata(&from).unwrap(), fs::metadata(&to).unwrap());
    assert_eq!(after.modified().unwrap(), time);
    assert_eq!(after.permissions(), before.permissions());
}

#[test]
fn a_pipe_of_unknown_length_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(700_001);
    let progress = Arc::new(Progress::default());
    let pipe = Source::pipe(Cursor::new(bytes.clone()), "standard input");
    let mut sender = Sender::push(put(), pipe, Arc::clone(&progress));
    let Output::Message(Message::Put(put)) = sender.poll() else {
        panic!("a sender begins with Put");
    };
    //= spec/20-copy.md#data
    //= type=test
    //# A sender that knows the size of the file MUST announce it in Put or Ready; standard input
    //# has none.
    assert_eq!(put.attributes, Attributes::default());
    let target = folder.path().join("target");
    let mut receiver = Receiver::accept(&put, into_file(&target), Arc::default());
    let (sent, received) = carry(&mut sender, &mut receiver, &mut shuffle(3, 1400));
    assert_eq!(sent.unwrap(), received.unwrap());
    assert_eq!(fs::read(target).unwrap(), bytes);
    assert_eq!((progress.size(), progress.bytes()), (None, 700_001));
}

/// Standard output that a test can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_get_to_standard_output_asks_for_order() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(3 << 20);
    fs::write(folder.path().join("source"), &bytes).unwrap();
    let out = Shared::default();
    let sink = StreamSink::new(out.clone(), "standard output");
    let open: OpenSink = Box::new(move |_| Ok(Box::new(sink)));
    let get = Get {
        path: b"source".to_vec(),
        ..Get::default()
    };
    let mut receiver = Receiver::pull(get.clone(), false, open, Arc::default());
    assert!(matches!(
        receiver.poll(),
        Output::Message(Message::Get(asked)) if asked == get
    ));
    let mut sender = Sender::serve(
        STREAM,
        source(&folder.path().join("source")),
        Arc::default(),
    );
    let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    assert_eq!(sent.unwrap(), received.unwrap());
    assert_eq!(*out.0.lock().unwrap(), bytes);
}

#[test]
fn a_damaged_block_fails_and_leaves_nothing() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# A file whose digest differs MUST NOT take its name.
    //= spec/20-copy.md#files
    //= type=test
    //# A partial file whose content is known to be wrong SHOULD be removed.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), content(2 << 20)).unwrap();
    let (sent, received) = push(&folder, &mut |mut blocks| {
        if let Some((0, bytes)) = blocks.first_mut() {
            let mut damaged = bytes.to_vec();
            damaged[99] ^= 1;
            *bytes = damaged.into();
        }
        blocks
    });
    assert_eq!(status(&sent), Status::Integrity);
    assert_eq!(status(&received), Status::Integrity);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_block_fails_even_when_the_end_came() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# The receiver MUST compare size and digest before the file takes its name.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), content(1 << 20)).unwrap();
    let (_, received) = push(&folder, &mut |mut blocks| {
        blocks.pop();
        blocks
    });
    assert_eq!(status(&received), Status::Integrity);
    assert!(!folder.path().join("target").exists());
}

#[test]
fn data_beyond_the_announced_size_is_refused() {
    //= spec/20-copy.md#data
    //= type=test
    //# A receiver MUST refuse data beyond an announced size.
    let folder = tempfile::tempdir().unwrap();
    let mut put = put();
    put.attributes.size = Some(10);
    for offset in [5, 10, u64::MAX] {
        let open = into_file(&folder.path().join("target"));
        let mut receiver = Receiver::accept(&put, open, Arc::default());
        let block = (offset, Bytes::from_static(b"sixsix"));
        receiver.handle(Input::Blocks(vec![block]));
        let over = Side::new(&mut receiver).run_to_the_end();
        assert_eq!(status(&over), Status::Protocol, "{offset}");
    }
    assert!(!folder.path().join("target").exists());
}

/// A disk that is full after some bytes, and whether what was written was removed.
struct SmallDisk(u64, Arc<AtomicBool>);

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        Self(bytes, Arc::default())
    }
}

impl Sink for SmallDisk {
    fn write_at(&mut self, _: u64, bytes: &[u8]) -> Result<(), Error> {
        match self.0.checked_sub(bytes.len() as u64) {
            Some(rest) => self.0 = rest,
            None => return Err(Error::io("small disk", io::ErrorKind::StorageFull)),
        }
        Ok(())
    }

    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn commit(self: Box<Self>, _: &Attributes, _: bool) -> Result<String, Error> {
        Ok(String::new())
    }

    fn discard(self: Box<Self>) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_disk_that_fills_up_ends_both_sides_with_no_space_and_is_left_as_it_was() {
    //= spec/20-copy.md#files
    //= type=test
    //# A receiver that has no space for the rest of a file MUST remove the partial file.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), content(3 << 20)).unwrap();
    let mut sender = Sender::push(put(), source(&folder.path().join("source")), Arc::default());
    sender.poll();
    let removed = Arc::new(AtomicBool::new(false));
    let disk = SmallDisk(2 << 20, Arc::clone(&removed));
    let open: OpenSink = Box::new(|_| Ok(Box::new(disk)));
    let mut receiver = Receiver::accept(&put(), open, Arc::default());
    let (sent, received) = carry(&mut sender, &mut receiver, &mut |blocks| blocks);
    assert_eq!(status(&received), Status::NoSpace);
    assert!(removed.load(Ordering::Relaxed));
    assert!(matches!(
        sent,
        Err(Error::Peer(Done {
            status: Status::NoSpace,
            ..
        }))
    ));
}

#[test]
fn messages_out_of_turn_end_the_copy() {
    let done = |status| {
        Message::Done(Done {
            status,
            text: String::new(),
        })
    };
    let digest = Message::Digest(Digest {
        size: 0,
        digest: [0; 32],
    });
    let ready = Message::Ready(Ready::default());
    for (message, expected) in [
        (ready.clone(), Status::Ok),
        (digest.clone(), Status::Protocol),
        (done(Status::Ok), Status::Protocol),
        (done(Status::Busy), Status::Busy),
        (Message::Put(put()), Status::Protocol),
    ] {
        let pipe = Source::pipe(io::empty(), "empty");
        let mut sender = Sender::push(put(), pipe, Arc::default());
        sender.handle(Input::Message(message.clone()));
        let mut side = Side::new(&mut sender);
        side.run();
        let seen = side.over.as_ref().map_or(Status::Ok, status);
        assert_eq!(seen, expected, "{message:?}");
    }
    for (message, expected) in [
        (ready, Status::Protocol),
        (digest, Status::Ok),
        (done(Status::Ok), Status::Protocol),
        (done(Status::Interrupted), Status::Interrupted),
    ] {
        let open: OpenSink = Box::new(|_| Ok(Box::new(SmallDisk::new(0))));
        let mut receiver = Receiver::accept(&put(), open, Arc::default());
        receiver.handle(Input::Message(message.clone()));
        let mut side = Side::new(&mut receiver);
        side.run();
        let seen = side.over.as_ref().map_or(Status::Ok, status);
        assert_eq!(seen, expected, "{message:?}");
    }
}

#[test]
fn data_does_not_wait_for_ready_and_done_does() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# The sender computes it over the bytes it read and MUST send Digest after the end of the
    //# data.
    //= spec/20-copy.md#data
    //= type=test
    //# A client MAY send data before Ready.
    let mut sender = Sender::push(put(), Source::pipe(&b"early"[..], "pipe"), Arc::default());
    let mut side = Side::new(&mut sender);
    let mut sent = side.run();
    let sent = sent.make_contiguous();
    assert!(
        matches!(
            sent,
            [
                Input::Message(Message::Put(_)),
                Input::Blocks(_),
                Input::DataEnd,
                Input::Message(Message::Digest(_))
            ]
        ),
        "{sent:?}"
    );
    assert!(side.over.is_none());
    //= spec/20-copy.md#data
    //= type=test
    //# A server MUST send Ready before Done with status ok.
    let done = Message::Done(Done {
        status: Status::Ok,
        text: String::new(),
    });
    sender.handle(Input::Message(done));
    let over = Side::new(&mut sender).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
}

#[test]
fn a_control_stream_that_just_ends_is_a_failure() {
    //= spec/20-copy.md#requests
    //= type=test
    //# A side that loses the connection before Done MUST treat the copy as failed.
    let mut sender = Sender::push(put(), Source::pipe(io::empty(), "empty"), Arc::default());
    sender.handle(Input::ControlEnd);
    let over = Side::new(&mut sender).run_to_the_end();
    assert_eq!(status(&over), Status::Protocol);
}

#[test]
fn what_is_no_message_is_answered_with_its_status() {
    for error in [DecodeError::UnknownKind(99), DecodeError::Truncated] {
        let mut sender = Sender::push(put(), Source::pipe(io::empty(), "empty"), Arc::default());
        sender.poll();
        sender.handle(Input::Malformed(error));
        let Output::Message(Message::Done(done)) = sender.poll() else {
            panic!("the other side is told");
        };
        assert_eq!(done.status, error.status());
        assert!(matches!(sender.poll(), Output::Over(Err(_))));
        //= spec/20-copy.md#requests
        //= type=test
        //# After Done a side MUST NOT send another message on that control stream.
        sender.handle(Input::Message(Message::Ready(Ready::default())));
        assert!(matches!(sender.poll(), Output::Wait));
    }
}

#[test]
fn an_interrupted_receiver_keeps_its_partial_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = into_file(&folder.path().join("target"));
    let mut receiver = Receiver::accept(&put(), open, Arc::default());
    let block = (0, Bytes::from(content(300_000)));
    receiver.handle(Input::Blocks(vec![block]));
    receiver.handle(Input::Interrupt);
    let over = Side::new(&mut receiver).run_to_the_end();
    assert_eq!(status(&over), Status::Interrupted);
    drop(receiver);
    assert!(!folder.path().join("target").exists());
    //= spec/20-copy.md#files
    //= type=test
    //# A partial file of an interrupted copy MAY stay, so that a later copy can go on from it.
    assert!(folder.path().join(".target.rp-partial").exists());
}
