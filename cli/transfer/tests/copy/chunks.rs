//! What each side of a copy to an older file refuses to do for the other, and how far it goes with it.

use std::{
    fs::{self, File},
    sync::Arc,
};

use rp_reduce::chunk::{Chunk, Scale};
use rp_transfer::{
    error::Error,
    message::{Chunks, Delta, Get, Message, Status, Want},
    receiver::Receiver,
    sender::Sender,
    session::{Half as _, Input, Output},
};

use crate::{content, into_file, line::Line, put, source};

/// Why a sender that told of 5 MiB does not take these wants.
fn refusal_of(wants: &[Want]) -> Option<Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    fs::write(&path, content(5 << 20)).unwrap();
    let get = Get {
        older: Some(5 << 20),
        ..Get::default()
    };
    let mut sender = Sender::resume(&get, Line::FIRST, source(&path), Arc::default());
    while !matches!(sender.poll(), Output::Wait) {}
    for want in wants {
        sender.handle(Input::Message(Message::Want(want.clone())));
    }
    loop {
        match sender.poll() {
            Output::Over(result) => return result.err(),
            Output::Wait => return None,
            _ => {}
        }
    }
}

#[test]
fn what_a_sender_did_not_tell_of_cannot_be_wanted() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A sender MUST refuse a Want whose ranges do not lie between the *through* of the Want before and its own,
    //# in what it was to send.
    let want = |through, ranges: &[(u64, u64)]| Want {
        through,
        ranges: ranges.to_vec(),
        taken: 0,
    };
    let end = 5 << 20;
    assert!(refusal_of(&[want(1000, &[(0, 10)]), want(end, &[(1000, 10)])]).is_none());
    for refused in [
        vec![want(end + 1, &[])],
        vec![want(1000, &[(0, 1001)])],
        vec![want(1000, &[(0, 10)]), want(2000, &[(0, 10)])],
        vec![want(1000, &[]), want(1000, &[])],
        vec![want(0, &[])],
    ] {
        let error = refusal_of(&refused).expect("it is refused");
        assert_eq!(error.status(), Status::Protocol, "{refused:?}");
    }
}

/// Why a receiver of 5 MiB that has an older file does not take these messages.
fn refusal_by_receiver(size: u64, messages: Vec<Message>) -> Option<Error> {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let older = File::create(&target).unwrap();
    // As large as the new one, and nowhere on the disk.
    older.set_len(size).unwrap();
    let mut offer = put();
    offer.attributes.size = Some(size);
    offer.version = Some([1; 16]);
    let mut receiver = Receiver::accept(&offer, into_file(&target), Arc::default());
    for message in messages {
        receiver.handle(Input::Message(message));
    }
    loop {
        match receiver.poll() {
            Output::Over(result) => return result.err(),
            Output::Wait => return None,
            _ => {}
        }
    }
}

fn chunk(length: u64) -> Chunk {
    Chunk {
        length,
        id: [9; 16].into(),
    }
}

#[test]
fn chunks_that_are_none_of_the_file_are_refused() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST refuse chunks that are longer or shorter than their scale allows, or that reach beyond the
    //# range they begin in.
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST refuse a scale or a Delta where it did not say that it has an older file.
    let delta = Message::Delta(Delta {
        stream: 6,
        scale: Scale::MIN,
    });
    let told = |lengths: &[u64]| {
        let chunks = lengths.iter().map(|&length| chunk(length)).collect();
        Message::Chunks(Chunks { chunks })
    };
    let size = 5 << 20;
    let whole = vec![1 << 16; 80];
    assert!(refusal_by_receiver(size, vec![delta.clone(), told(&whole)]).is_none());
    let mut beyond = whole.clone();
    beyond.push(1 << 12);
    for refused in [
        vec![told(&whole)],
        vec![delta.clone(), delta.clone()],
        vec![delta.clone(), told(&[0])],
        vec![delta.clone(), told(&[(1 << 12) - 1])],
        vec![delta.clone(), told(&[(1 << 16) + 1])],
        vec![delta.clone(), told(&beyond)],
    ] {
        let error = refusal_by_receiver(size, refused).expect("it is refused");
        assert_eq!(error.status(), Status::Protocol);
    }
    // A small file there is none to tell of.
    let error = refusal_by_receiver(1 << 20, vec![delta]).expect("it is refused");
    assert_eq!(error.status(), Status::Protocol);
}

#[test]
fn more_chunks_than_a_receiver_can_keep_are_refused() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST refuse chunks beyond 256 MiB that it has not decided.
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST refuse a scale of which 2^18 chunks are less than the file, unless it is 24.
    let scaled = |scale| {
        Message::Delta(Delta {
            stream: 6,
            scale: Scale::from_wire(scale).unwrap(),
        })
    };
    let many = Message::Chunks(Chunks {
        chunks: vec![chunk(1 << 16); 4097],
    });
    let size = 300 << 20;
    // The encoding holds fewer of them; the halves are told of as many as come one after the other.
    let error = refusal_by_receiver(size, vec![scaled(14), many]).expect("it is refused");
    assert_eq!(error.status(), Status::Protocol);
    let error = refusal_by_receiver(8 << 30, vec![scaled(14)]);
    // Where 8 GB are not free nothing is begun at all.
    if let Some(error) = error.filter(|error| error.status() != Status::NoSpace) {
        assert_eq!(error.status(), Status::Protocol);
    }
}

#[test]
fn a_sender_waits_until_it_is_decided_what_is_wanted() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A sender MUST NOT tell of chunks while more than 256 MiB of what it told of are not decided.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    let size: u64 = 400 << 20;
    File::create(&path).unwrap().set_len(size).unwrap();
    let get = Get {
        older: Some(size),
        ..Get::default()
    };
    let mut sender = Sender::resume(&get, Line::FIRST, source(&path), Arc::default());
    let mut told = 0;
    loop {
        match sender.poll() {
            Output::Message(Message::Chunks(Chunks { chunks })) => {
                told += chunks.iter().map(|chunk| chunk.length).sum::<u64>();
            }
            Output::Wait => break,
            Output::Over(result) => panic!("{result:?}"),
            _ => {}
        }
    }
    assert!(told <= 256 << 20 && told > 250 << 20, "{told}");
}

#[test]
fn where_nothing_is_found_all_the_rest_is_wanted_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    File::create(&target).unwrap().set_len(100 << 20).unwrap();
    let size = 300 << 20;
    let mut offer = put();
    offer.attributes.size = Some(size);
    offer.version = Some([1; 16]);
    let mut receiver = Receiver::accept(&offer, into_file(&target), Arc::default());
    let scale = Scale::MIN;
    receiver.handle(Input::Message(Message::Delta(Delta { stream: 6, scale })));
    let mut arrived = 0;
    let mut last = Want::default();
    for _ in 0..20 {
        let chunks = vec![chunk(1 << 16); 100];
        receiver.handle(Input::Message(Message::Chunks(Chunks { chunks })));
        let mut wanted = 0;
        loop {
            match receiver.poll() {
                Output::Wait => break,
                Output::Message(Message::Want(want)) => {
                    wanted += want.ranges.iter().map(|range| range.1).sum::<u64>();
                    last = want;
                }
                Output::Attach { stream, .. } => receiver.handle(Input::Attached(stream)),
                Output::Over(result) => panic!("{result:?}"),
                _ => {}
            }
        }
        if last.through == size {
            break;
        }
        // What is wanted comes at once: the line waits for us, and not the other way round.
        let bytes = vec![1; usize::try_from(wanted).unwrap()];
        receiver.handle(Input::Blocks(vec![(arrived, bytes.into())]));
        arrived += wanted;
    }
    assert_eq!(last.through, size);
    assert!(arrived <= 80 << 20, "{arrived}");
}
