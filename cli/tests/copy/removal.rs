//! What a server removes for a client.

use std::fs;

use rp_transfer::message::{Entry, Message, RemoveBatch, Status};

use crate::{
    service::Control,
    world::{World, names},
};

#[test]
fn a_batch_removes_what_it_names_and_no_partial_file() {
    let world = World::new();
    for name in ["one", "two", ".one.rp-partial", ".one.rp-journal"] {
        fs::write(world.root(name), "x").unwrap();
    }
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut control = Control::open(&connection).await;
        let remove = RemoveBatch {
            path: Vec::new(),
            count: 5,
        };
        control.send(Message::RemoveBatch(remove)).await;
        //= spec/20-copy.md#lists
        //= type=test
        //# A server MUST NOT remove a partial file or a journal by RemoveBatch.
        let paths = [
            "one",
            ".one.rp-partial",
            ".one.rp-journal",
            "../here",
            "none",
        ];
        for path in paths {
            let path = path.as_bytes().to_vec();
            let entry = Entry {
                path,
                ..Entry::default()
            };
            control.send(Message::Entry(entry)).await;
        }
        for (path, status) in paths[1..].iter().zip([
            Status::BadPath,
            Status::BadPath,
            Status::BadPath,
            Status::NotFound,
        ]) {
            let Some(Message::Entry(entry)) = control.next().await else {
                panic!("{path} was removed");
            };
            assert_eq!(entry.path, path.as_bytes());
            assert_eq!(entry.failure.unwrap().status, status, "{path}");
        }
        assert_eq!(control.status().await, Status::Ok);
    });
    assert_eq!(
        names(&world.root("")),
        [".one.rp-journal", ".one.rp-partial", "two"]
    );
}
