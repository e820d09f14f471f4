//! The service, spoken to message by message: sides that are early, late, or lie.

use std::{fs, time::Duration};

use bytes::Bytes;
use rp_cli::copy::service::CopyLimits;
use rp_protocol::{Connection, RecvStream, SendStream, error::ConnectionError};
use rp_transfer::message::{Attributes, Decoder, Digest, Done, Get, Message, Put, Ready, Status};
use tokio::time::timeout;

use crate::world::{World, content, names, stderr};

/// How long a server waits here for what does not come.
const LIMIT: Duration = Duration::from_millis(300);

/// One request's control stream.
pub(crate) struct Control {
    pub(crate) writer: SendStream,
    pub(crate) reader: RecvStream,
    decoder: Decoder,
}

impl Control {
    pub(crate) async fn open(connection: &Connection) -> Self {
        Self::over(connection.open_bi().await.unwrap())
    }

    pub(crate) async fn accept(connection: &Connection) -> Self {
        Self::over(connection.accept_bi().await.unwrap())
    }

    pub(crate) fn over((writer, reader): (SendStream, RecvStream)) -> Self {
        let decoder = Decoder::new();
        Self {
            writer,
            reader,
            decoder,
        }
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.writer.write_bytes(bytes.into()).await.unwrap();
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            self.decoder
                .push(&self.reader.read_bytes(4096).await.unwrap()?);
        }
    }

    /// The status of the Done that must come next, but for what a sender says of its groups, and the end of the
    /// stream after it.
    pub(crate) async fn status(&mut self) -> Status {
        let status = loop {
            match self.next().await {
                Some(Message::Groups(_)) => {}
                Some(Message::Done(done)) => break done.status,
                other => unreachable!("expected Done, got {other:?}"),
            }
        };
        assert_eq!(self.next().await, None);
        status
    }
}

pub(crate) fn put(data: &SendStream, path: &str) -> Message {
    Message::Put(Put {
        stream: data.id().into_inner(),
        path: path.into(),
        ..Put::default()
    })
}

pub(crate) fn digest(bytes: &[u8]) -> Message {
    Message::Digest(Digest {
        size: bytes.len() as u64,
        digest: *blake3::hash(bytes).as_bytes(),
    })
}

#[test]
fn data_may_arrive_before_the_message_that_names_it() {
    //= spec/20-copy.md#data
    //= type=test
    //# A receiver MUST accept data that arrives before the message that names its stream.
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut data = connection.open_uni().await.unwrap();
        data.write_bytes(Bytes::from_static(b"early"))
            .await
            .unwrap();
        data.finish().unwrap();
        data.finished().await.unwrap();
        let mut control = Control::open(&connection).await;
        control.send(put(&data, "file")).await;
        control.send(digest(b"early")).await;
        assert_eq!(control.next().await, Some(Message::Ready(Ready::default())));
        assert_eq!(control.status().await, Status::Ok);
    });
    assert_eq!(fs::read(world.root("file")).unwrap(), b"early");
}

#[test]
fn a_client_that_has_nothing_more_to_say_than_get_is_given_the_file() {
    //= spec/20-copy.md#requests
    //= type=test
    //# A server MUST answer a Get whose client has finished its half of the control stream behind it.
    let world = World::new();
    let bytes = content(700_000);
    fs::write(world.root("file"), &bytes).unwrap();
    let arrived = world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut control = Control::open(&connection).await;
        let path = b"file".to_vec();
        control
            .send(Message::Get(Get {
                path,
                ..Get::default()
            }))
            .await;
        control.writer.finish().unwrap();
        let Some(Message::Ready(ready)) = control.next().await else {
            unreachable!("Ready comes first");
        };
        let mut data = connection.accept_uni().await.unwrap();
        assert_eq!(Some(data.id().into_inner()), ready.stream);
        let mut arrived = Vec::new();
        while let Some(piece) = data.read_bytes(1 << 16).await.unwrap() {
            arrived.extend_from_slice(&piece);
        }
        assert_eq!(control.next().await, Some(digest(&arrived)));
        assert_eq!(control.next().await, None);
        arrived
    });
    assert_eq!(arrived, bytes);
}

#[test]
fn a_client_may_finish_its_half_behind_its_digest_and_not_before() {
    //= spec/20-copy.md#requests
    //= type=test
    //# A receiver MUST finish a copy whose sender has finished its half of the control stream behind
    //# Digest.
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        for (name, has_digest) in [("whole", true), ("cut", false)] {
            let mut data = connection.open_uni().await.unwrap();
            let mut control = Control::open(&connection).await;
            control.send(put(&data, name)).await;
            if has_digest {
                control.send(digest(b"content")).await;
            }
            control.writer.finish().unwrap();
            control.writer.finished().await.unwrap();
            data.write_bytes(Bytes::from_static(b"content"))
                .await
                .unwrap();
            data.finish().unwrap();
            if has_digest {
                assert_eq!(control.next().await, Some(Message::Ready(Ready::default())));
                assert_eq!(control.status().await, Status::Ok);
            } else {
                while let Some(message) = control.next().await {
                    assert_eq!(message, Message::Ready(Ready::default()));
                }
            }
        }
    });
    assert_eq!(fs::read(world.root("whole")).unwrap(), b"content");
    assert!(!world.root("cut").exists());
}

#[test]
fn streams_nobody_names_are_stopped_beyond_a_bound() {
    //= spec/20-copy.md#data
    //= type=test
    //# A receiver MUST bound how many unnamed data streams it keeps for one connection.
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut streams = Vec::new();
        for _ in 0..200 {
            let mut data = connection.open_uni().await.unwrap();
            data.write_bytes(Bytes::from_static(b"x")).await.unwrap();
            streams.push(data);
        }
        let mut last = streams.pop().unwrap();
        assert!(last.stopped().await.unwrap().is_some());
        // The connection goes on as if nothing had happened.
        let mut control = Control::open(&connection).await;
        let get = Get {
            path: b"none".to_vec(),
            ..Get::default()
        };
        control.send(Message::Get(get)).await;
        assert_eq!(control.status().await, Status::NotFound);
    });
}

#[test]
fn the_data_of_a_refused_put_is_stopped_whenever_it_arrives() {
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        for early in [true, false] {
            let mut data = connection.open_uni().await.unwrap();
            if early {
                data.write_bytes(Bytes::from_static(b"x")).await.unwrap();
            }
            let mut control = Control::open(&connection).await;
            control.send(put(&data, "/absolute")).await;
            assert_eq!(control.status().await, Status::BadPath);
            if !early {
                data.write_bytes(Bytes::from_static(b"x")).await.unwrap();
            }
            assert!(data.stopped().await.unwrap().is_some(), "early: {early}");
        }
    });
}

#[test]
fn many_requests_share_a_connection() {
    //= spec/20-copy.md#requests
    //= type=test
    //# A connection MAY carry any number of requests at once.
    let world = World::new();
    let bytes = content(300_000);
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut open = Vec::new();
        for index in 0..40 {
            let data = connection.open_uni().await.unwrap();
            let mut control = Control::open(&connection).await;
            control.send(put(&data, &format!("file{index}"))).await;
            open.push((control, data));
        }
        for (control, mut data) in open {
            let mut control = control;
            assert!(matches!(control.next().await, Some(Message::Ready(_))));
            data.write_bytes(bytes.clone().into()).await.unwrap();
            data.finish().unwrap();
            control.send(digest(&bytes)).await;
            assert_eq!(control.status().await, Status::Ok);
        }
    });
    assert_eq!(names(&world.root("")).len(), 40);
}

#[test]
fn a_wrong_digest_leaves_no_file() {
    //= spec/20-copy.md#integrity
    //= type=test
    //# A file whose digest differs MUST NOT take its name.
    let world = World::new();
    fs::write(world.root("file"), "old").unwrap();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut data = connection.open_uni().await.unwrap();
        let mut control = Control::open(&connection).await;
        control.send(put(&data, "file")).await;
        data.write_bytes(Bytes::from_static(b"new")).await.unwrap();
        data.finish().unwrap();
        control.send(digest(b"mew")).await;
        assert!(matches!(control.next().await, Some(Message::Ready(_))));
        assert_eq!(control.status().await, Status::Integrity);
    });
    assert_eq!(fs::read(world.root("file")).unwrap(), b"old");
    assert_eq!(names(&world.root("")), ["file"]);
}

#[test]
fn a_first_message_that_is_no_request_is_answered() {
    //= spec/20-copy.md#requests
    //= type=test
    //# The client's first message on it MUST be Put, Get, PutBatch, GetBatch, List, MakeFolder, Remove
    //# or RemoveBatch.
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut control = Control::open(&connection).await;
        control.send(Message::Ready(Ready::default())).await;
        assert_eq!(control.status().await, Status::Protocol);
        let mut control = Control::open(&connection).await;
        let later = Bytes::from_static(&[0, 0, 0, 2, 0, 99]);
        control.writer.write_bytes(later).await.unwrap();
        assert_eq!(control.status().await, Status::Unsupported);
        let mut control = Control::open(&connection).await;
        let endless = Bytes::from_static(&[0xff; 4]);
        control.writer.write_bytes(endless).await.unwrap();
        assert_eq!(control.status().await, Status::Protocol);
    });
}

#[test]
fn a_put_that_only_says_it_is_working_loses_its_name_in_the_end() {
    //= spec/20-copy.md#silence
    //= type=test
    //# A server MUST bound how long a client says nothing but Working.
    let world = World::limited(CopyLimits {
        working: LIMIT,
        ..CopyLimits::default()
    });
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut data = connection.open_uni().await.unwrap();
        let mut idle = Control::open(&connection).await;
        idle.send(put(&data, "file")).await;
        data.write_bytes(Bytes::from_static(b"some")).await.unwrap();
        assert!(matches!(idle.next().await, Some(Message::Ready(_))));
        let status = loop {
            match timeout(LIMIT / 10, idle.status()).await {
                Ok(status) => break status,
                Err(_) => idle.send(Message::Working).await,
            }
        };
        assert_eq!(status, Status::Interrupted);
        // The end of its control stream is the end of its hold on the name.
        let mut data = connection.open_uni().await.unwrap();
        let mut second = Control::open(&connection).await;
        second.send(put(&data, "file")).await;
        let whole = Bytes::from_static(b"whole");
        data.write_bytes(whole).await.unwrap();
        data.finish().unwrap();
        second.send(digest(b"whole")).await;
        assert!(matches!(second.next().await, Some(Message::Ready(_))));
        assert_eq!(second.status().await, Status::Ok);
    });
    assert_eq!(fs::read(world.root("file")).unwrap(), b"whole");
    assert_eq!(names(&world.root("")), ["file"]);
}

#[test]
fn a_connection_that_is_kept_awake_without_a_request_is_ended() {
    let world = World::limited(CopyLimits {
        idle_timeout: LIMIT,
        ..CopyLimits::default()
    });
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let ended = connection.closed().await;
        let idle = matches!(&ended, ConnectionError::PeerClosed { reason, .. } if reason == "idle");
        assert!(idle, "{ended}");
    });
}

#[test]
fn copies_beyond_a_share_are_refused_and_the_next_one_is_taken() {
    let world = World::limited(CopyLimits {
        copies_per_user: 2,
        ..CopyLimits::default()
    });
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut held = Vec::new();
        for name in ["a", "b"] {
            let data = connection.open_uni().await.unwrap();
            let mut control = Control::open(&connection).await;
            control.send(put(&data, name)).await;
            assert!(matches!(control.next().await, Some(Message::Ready(_))));
            held.push((control, data));
        }
        let data = connection.open_uni().await.unwrap();
        let mut third = Control::open(&connection).await;
        third.send(put(&data, "c")).await;
        let Some(Message::Done(done)) = third.next().await else {
            unreachable!("a third copy is refused");
        };
        assert!(done.text.contains("too many copies"), "{}", done.text);
        let (mut control, mut data) = held.pop().unwrap();
        data.finish().unwrap();
        control.send(digest(b"")).await;
        assert_eq!(control.status().await, Status::Ok);
        // The share is free a moment after the client has heard of the copy's end.
        let ready = async {
            loop {
                let data = connection.open_uni().await.unwrap();
                let mut fourth = Control::open(&connection).await;
                fourth.send(put(&data, "c")).await;
                if let Some(Message::Ready(_)) = fourth.next().await {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), ready).await.unwrap();
    });
}

/// A server that answers a Get with `bytes` but swears to `sworn`.
async fn lie(connection: Connection, bytes: &'static [u8], sworn: &'static [u8]) {
    let mut control = Control::accept(&connection).await;
    assert!(matches!(control.next().await, Some(Message::Get(_))));
    let mut data = connection.open_uni().await.unwrap();
    let ready = Ready {
        stream: Some(data.id().into_inner()),
        attributes: Attributes {
            size: Some(sworn.len() as u64),
            ..Attributes::default()
        },
        ..Ready::default()
    };
    control.send(Message::Ready(ready)).await;
    data.write_bytes(Bytes::from_static(bytes)).await.unwrap();
    data.finish().unwrap();
    control.send(digest(sworn)).await;
    while control.next().await.is_some() {}
}

#[test]
fn a_server_that_lies_about_the_content_is_exit_code_7() {
    for (bytes, sworn) in [(&b"new"[..], &b"mew"[..]), (b"shorter", b"than said")] {
        let world = World::answering(World::folders(), move |connection| {
            lie(connection, bytes, sworn)
        });
        fs::write(world.here("file"), "old").unwrap();
        let output = world.run(7, &[&world.url("file"), "file"]);
        assert!(stderr(&output).contains("integrity"), "{}", stderr(&output));
        assert_eq!(fs::read(world.here("file")).unwrap(), b"old");
        assert_eq!(names(&world.here("")), ["file"]);
    }
}

#[test]
fn what_a_server_says_cannot_steer_the_terminal() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A text MUST be stripped of control characters before it reaches a terminal or a log.
    let world = World::answering(World::folders(), |connection| async move {
        let mut control = Control::accept(&connection).await;
        let done = Done {
            status: Status::Failed,
            text: "\u{1b}[2Jgone\r\nrpcp: \u{202e}all is well".to_owned(),
        };
        control.send(Message::Done(done)).await;
        control.writer.finish().unwrap();
        while control.next().await.is_some() {}
    });
    let output = world.run(1, &[&world.url("file"), "file"]);
    let shown = stderr(&output);
    assert_eq!(
        shown,
        "rpcp: the other side reports: ?[2Jgone??rpcp: ?all is well\n"
    );
}
