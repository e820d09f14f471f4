//! Copies to where an older file stands: what is sent of them, in both directions, and what a side does that is
//! told something wrong.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use rp_transfer::{
    message::{Chunks, Done, Get, Message, Put, Ready, Resume, Status},
    path::Destination,
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::{Half, Input, Output},
    source::Source,
    writer::Writer,
};
use tempfile::TempDir;

use crate::{
    content, into_file,
    line::{Line, Outcome},
    put, source,
};

const MIB: usize = 1 << 20;

/// A folder with `source` and an older `target`.
struct Case {
    folder: TempDir,
    new: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Put,
    Get,
}

impl Case {
    fn new(old: &[u8], new: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("target"), old).unwrap();
        fs::write(folder.path().join("source"), &new).unwrap();
        Self { folder, new }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> Source {
        source(&self.path("source"))
    }

    fn halves(&self, way: Way) -> (Box<dyn Half>, Box<dyn Half>) {
        let target = self.path("target");
        match way {
            Way::Put => {
                let mut sender = Sender::push(put(), self.source(), Arc::default());
                let offer = first_put(&mut sender);
                let receiver = Receiver::accept(&offer, into_file(&target), Arc::default());
                (Box::new(sender), Box::new(receiver))
            }
            Way::Get => {
                let destination = Destination::local(&target).unwrap();
                let mut get = Get {
                    path: b"source".to_vec(),
                    older: Writer::older_size(&destination),
                    ..Get::default()
                };
                let writer = Writer::begin(destination, Resume::Auto).unwrap();
                if let Some((version, missing)) = writer.resumable() {
                    (get.version, get.missing) = (Some(version), Some(missing));
                }
                let open: OpenSink = Box::new(move |announced| {
                    let size = announced.attributes.size;
                    Ok(Box::new(writer.announce(size, announced.version)?))
                });
                let mut receiver = Receiver::pull(get.clone(), true, open, Arc::default());
                assert!(matches!(receiver.poll(), Output::Message(Message::Get(_))));
                let sender = Sender::resume(&get, Line::FIRST, self.source(), Arc::default());
                (Box::new(sender), Box::new(receiver))
            }
        }
    }

    fn copy(&self, way: Way, line: Line<'_>) -> Outcome {
        let (mut sender, mut receiver) = self.halves(way);
        line.carry(sender.as_mut(), receiver.as_mut())
    }

    /// The copy went well, and nothing but the new file is there.
    fn check(&self, outcome: &Outcome) {
        let sent = outcome.sent.as_ref().unwrap();
        assert_eq!(sent, outcome.received.as_ref().unwrap());
        assert_eq!(sent.digest, *blake3::hash(&self.new).as_bytes());
        assert_eq!(sent.bytes, self.new.len() as u64);
        assert!(fs::read(self.path("target")).unwrap() == self.new);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2);
    }

    /// The file is sent within `percent` of its bytes, messages and all, in both directions.
    fn sends_at_most(old: &[u8], new: &[u8], percent: f64) {
        for way in [Way::Put, Way::Get] {
            let case = Self::new(old, new.to_vec());
            let outcome = case.copy(way, Line::default());
            case.check(&outcome);
            let share = (outcome.data + outcome.messages) as f64 * 100.0 / new.len() as f64;
            assert!(share <= percent, "{way:?}: {share} %");
        }
    }
}

fn first_put(sender: &mut Sender) -> Put {
    match sender.poll() {
        Output::Message(Message::Put(put)) => put,
        other => panic!("a sender begins with Put, not {other:?}"),
    }
}

/// `count` places of `length` bytes are other ones.
fn changed(old: &[u8], count: usize, length: usize) -> Vec<u8> {
    let mut new = old.to_vec();
    for place in 0..count {
        let at = place * old.len() / count + 777;
        new[at..at + length]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55);
    }
    new
}

#[test]
fn of_a_file_that_changed_in_places_only_these_are_sent() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MAY say in Get or Ready that it has an older file.
    //= spec/20-copy.md#older-destination
    //= type=test
    //# The data stream MUST hold what is wanted in the order in which it was wanted, one range after the other and
    //# nothing between.
    let old = content(24 * MIB);
    Case::sends_at_most(&old, &changed(&old, 4, 60_000), 3.0);
}

#[test]
fn what_is_put_in_or_taken_out_moves_the_rest_and_sends_none_of_it() {
    let old = content(16 * MIB);
    let mut longer = b"in front".repeat(128);
    longer.extend(&old);
    Case::sends_at_most(&old, &longer, 2.0);
    Case::sends_at_most(&old, &old[5 * MIB + 3..], 2.0);
}

#[test]
fn of_a_file_with_another_time_and_the_same_content_nothing_is_sent() {
    let old = content(16 * MIB);
    Case::sends_at_most(&old, &old, 0.6);
}

#[test]
fn a_wholly_different_file_costs_little_more_than_without_an_older_one() {
    let old = vec![7; 16 * MIB];
    Case::sends_at_most(&old, &content(16 * MIB), 101.0);
}

#[test]
fn what_came_before_the_sender_knew_of_the_older_file_is_not_sent_again() {
    let old = vec![7; 16 * MIB];
    let case = Case::new(&old, content(16 * MIB));
    // Half of the file is there by the time.
    let line = Line {
        latency: 8,
        rate: MIB / 2,
        ..Line::default()
    };
    let outcome = case.copy(Way::Put, line);
    case.check(&outcome);
    let extra = outcome.data - case.new.len() as u64;
    assert!(extra <= MIB as u64, "{extra}");
    assert!(outcome.streams == 2);
}

#[test]
fn an_interrupted_copy_goes_on_with_what_is_missing_and_not_in_the_older_file() {
    for way in [Way::Put, Way::Get] {
        let old = content(16 * MIB);
        let case = Case::new(&old, changed(&old, 4, 3_000));
        let mut wants = 0;
        let line = Line {
            cut: Some(&mut |message| {
                wants += u32::from(matches!(message, Message::Want(_)));
                wants > 1
            }),
            ..Line::default()
        };
        let outcome = case.copy(way, line);
        assert!(outcome.sent.is_err() && outcome.received.is_err());
        assert!(case.path(".target.rp-journal").exists());
        assert!(fs::read(case.path("target")).unwrap() == old);
        let outcome = case.copy(way, Line::default());
        case.check(&outcome);
        assert!(outcome.data < 600_000, "{}", outcome.data);
        // Of what is there nothing is told any more.
        assert!(outcome.chunks < 800, "{}", outcome.chunks);
    }
}

#[test]
fn an_older_file_that_changes_while_it_is_read_costs_bytes_and_nothing_else() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST NOT write bytes of an older file over bytes that it received.
    for way in [Way::Put, Way::Get] {
        for shorter in [false, true] {
            let old = content(16 * MIB);
            let case = Case::new(&old, changed(&old, 4, 50_000));
            let target = case.path("target");
            let mut wants = 0;
            let line = Line {
                watch: Some(&mut |message| {
                    wants += u32::from(matches!(message, Message::Chunks(_)));
                    if wants == 6 {
                        let file = File::options().write(true).open(&target).unwrap();
                        match shorter {
                            true => file.set_len(9 * MIB as u64).unwrap(),
                            false => fs::write(&target, vec![1; 16 * MIB]).unwrap(),
                        }
                    }
                }),
                ..Line::default()
            };
            let outcome = case.copy(way, line);
            case.check(&outcome);
        }
    }
}

#[test]
fn false_ids_lead_to_bytes_that_are_fetched_again() {
    for way in [Way::Put, Way::Get] {
        let old = content(16 * MIB);
        let case = Case::new(&old, changed(&old, 4, 50_000));
        let mut ids = Vec::new();
        let line = Line {
            change: Some(&mut |message| {
                if let Message::Chunks(Chunks { chunks }) = message {
                    // Each chunk is called as one that came before.
                    ids.extend(chunks.iter().map(|chunk| chunk.id));
                    for (index, chunk) in chunks.iter_mut().enumerate() {
                        chunk.id = ids[index];
                    }
                }
            }),
            ..Line::default()
        };
        let outcome = case.copy(way, line);
        case.check(&outcome);
    }
}

#[test]
fn a_sender_that_is_told_not_to_sends_all() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A sender MAY ignore *older*, and then sends as if there was no such file.
    let old = content(8 * MIB);
    let case = Case::new(&old, changed(&old, 4, 50_000));
    let mut sender = Sender::push(put(), case.source(), Arc::default()).no_reduce();
    let offer = first_put(&mut sender);
    let mut receiver = Receiver::accept(&offer, into_file(&case.path("target")), Arc::default());
    let outcome = Line::default().carry(&mut sender, &mut receiver);
    case.check(&outcome);
    assert_eq!((outcome.data, outcome.chunks), (case.new.len() as u64, 0));
}

#[test]
fn a_receiver_that_has_all_before_it_hears_of_chunks_is_believed() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A sender that has sent all of a file before it goes on with Delta MUST take Done with status ok for
    //# it.
    let case = Case::new(&content(5 * MIB), content(5 * MIB));
    let mut sender = Sender::push(put(), case.source(), Arc::default());
    let mut ended = false;
    while !ended {
        match sender.poll() {
            Output::Wait => ended = true,
            Output::Over(result) => panic!("{result:?}"),
            _ => {}
        }
    }
    let older = Some(5 * MIB as u64);
    let ready = Ready {
        older,
        ..Ready::default()
    };
    sender.handle(Input::Message(Message::Ready(ready)));
    assert!(matches!(sender.poll(), Output::Reopen(_)));
    let done = Done {
        status: Status::Ok,
        text: String::new(),
    };
    sender.handle(Input::Message(Message::Done(done)));
    let Output::Over(Ok(summary)) = sender.poll() else {
        panic!("the copy is over");
    };
    assert_eq!(summary.digest, *blake3::hash(&case.new).as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_was_there_the_new_file_is_what_was_sent(
        edits in proptest::collection::vec((0..6 * MIB, 0..300_000_usize, 0..300_000_usize), 0..6),
        rate in 1_000..3_000_000_usize,
        latency in 1..20_u64,
        put in any::<bool>(),
    ) {
        let old = content(6 * MIB);
        let mut new = old.clone();
        for (at, out, length) in edits {
            let at = at.min(new.len());
            let out = (at + out).min(new.len());
            new.splice(at..out, content(length + 64).into_iter().skip(64).map(|byte| byte ^ 0x11));
        }
        let case = Case::new(&old, new);
        let way = if put { Way::Put } else { Way::Get };
        let outcome = case.copy(way, Line { rate: rate.max(60_000), latency, ..Line::default() });
        case.check(&outcome);
    }
}

#[test]
fn a_source_that_changes_is_no_file_at_all() {
    for way in [Way::Put, Way::Get] {
        let old = content(16 * MIB);
        let case = Case::new(&old, changed(&old, 16, 50_000));
        let path = case.path("source");
        let mut wants = 0;
        let line = Line {
            watch: Some(&mut |message| {
                wants += u32::from(matches!(message, Message::Want(_)));
                if wants == 2 {
                    fs::write(&path, content(16 * MIB)).unwrap();
                    let later = SystemTime::now() + Duration::from_secs(9);
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_modified(later).unwrap();
                    wants += 1;
                }
            }),
            ..Line::default()
        };
        let outcome = case.copy(way, line);
        assert_eq!(outcome.sent.unwrap_err().status(), Status::SourceChanged);
        assert!(outcome.received.is_err());
        assert!(fs::read(case.path("target")).unwrap() == old);
    }
}
