//! How far a sender reads ahead of what is taken.

use std::{
    fs::{self, File},
    sync::Arc,
};

use rp_transfer::{
    message::Message,
    sender::Sender,
    session::{Half, Output},
};

use crate::{content, link::STREAM, source};

#[test]
fn a_sender_reads_no_more_than_the_data_stream_takes_and_ends_without_a_window() {
    //= spec/20-copy.md#data
    //= type=test
    //# A sender SHOULD read no more of a file than its data stream takes: a peer that takes nothing
    //# then costs it no memory.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    // On disk, so that its size is believed, and with nothing read ahead.
    fs::write(&path, content(9000)).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    let mut sender = Sender::serve(STREAM, source(&path), Arc::default());
    assert!(matches!(sender.poll(), Output::Message(Message::Ready(_))));
    let mut sent = 0;
    for window in [0, 1, 1000, 0, 7999] {
        sender.set_window(window);
        assert_eq!(sender.wants_window(), window == 0);
        match sender.poll() {
            Output::Data(bytes) => sent += bytes.len() as u64,
            Output::Wait => assert_eq!(window, 0),
            other => panic!("{other:?}"),
        }
        assert!(sender.wants_window() || sent == 9000);
    }
    assert_eq!(sent, 9000);
    assert!(matches!(sender.poll(), Output::DataEnd));
    assert!(matches!(sender.poll(), Output::Message(Message::Digest(_))));
}
