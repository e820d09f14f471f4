//! Batches of files of which the client knows something.

use std::{fs, sync::Arc};

use rp_transfer::{
    batch::{BatchReceiver, BatchSender, Item, Report, Store, StoreOptions},
    message::{Attributes, Entry, Message, Modified, Ready},
    session::{Half, Input, Output},
    walk::{Walk, WalkOptions},
};

use crate::{
    batches::{folders, path, root},
    link::{STREAM, Side},
};

#[test]
fn what_the_client_knows_of_a_file_is_not_sent_again() {
    //= spec/20-copy.md#batches
    //= type=test
    //# A server MAY leave *mode*, *modified* and *version* out of an entry whose *version* is the one that it was
    //# asked for with.
    let folder = folders();
    let from = root(&folder, "from");
    fs::write(folder.path().join("from/a"), "some").unwrap();
    let listed = Walk::new(Arc::clone(&from), path(b"a"), WalkOptions::default());
    let listed = listed.last().unwrap().unwrap();
    let sent = |version| {
        let entry = Entry {
            path: b"a".to_vec(),
            version,
            ..Entry::default()
        };
        let item = Item {
            root: Arc::clone(&from),
            source: path(b"a"),
            entry,
        };
        let mut sender = BatchSender::serve(STREAM, vec![item]);
        sender.poll();
        match sender.poll() {
            Output::Data(bytes) => bytes,
            output => panic!("{output:?}"),
        }
    };
    let (known, unknown) = (sent(listed.version), sent(Some([9; 16])));
    // Mode, time and version with their tags and lengths.
    assert_eq!(unknown.len() - known.len(), 8 + 16 + 20);
    let modified = Modified {
        seconds: 1_000_000_000,
        nanos: 0,
    };
    let asked = Entry {
        path: b"a".to_vec(),
        attributes: Attributes {
            modified: Some(modified),
            ..listed.attributes
        },
        ..listed
    };
    let options = StoreOptions {
        preserve: true,
        ..StoreOptions::default()
    };
    let store = Store::new(root(&folder, "to"), path(b""), options, Report::default());
    let mut receiver = BatchReceiver::pull_entries(Vec::new(), vec![asked], store, false);
    while !matches!(receiver.poll(), Output::Wait) {}
    receiver.handle(Input::Message(Message::Ready(Ready {
        stream: Some(STREAM),
        ..Ready::default()
    })));
    receiver.handle(Input::Blocks(vec![(0, known)]));
    receiver.handle(Input::DataEnd);
    Side::new(&mut receiver).run_to_the_end().unwrap();
    let stored = fs::metadata(folder.path().join("to/a")).unwrap();
    assert_eq!(
        stored.modified().unwrap(),
        modified.to_system_time().unwrap()
    );
}
