//! Sides that are connected and do nothing, or stop in the middle without a word.

use std::{fs, process::Stdio};

use bytes::Bytes;
use rp_protocol::Connection;
use rp_transfer::message::{Get, Message, Put, Ready, Status};

use crate::{
    service::{Control, digest, put},
    world::{World, content, names, stderr},
};

/// What a server does that was asked for a file: nothing more than this, until the client leaves.
#[derive(Clone, Copy, Debug)]
enum Server {
    /// Takes the request and says nothing.
    Mute,
    /// Says Ready and nothing.
    Ready,
    /// Names a stream that it never opens.
    NamesNone,
    /// Names a stream that only the client could open, or none that carries data.
    NamesAnother(u64),
    /// Sends half of the file.
    Half,
    /// Sends half of the file and resets its stream.
    Reset,
    /// Sends the file and no digest.
    NoDigest,
    /// Says that all is done.
    Done,
    /// Ends its half of the control stream.
    HalfClosed,
}

async fn serve(connection: Connection, server: Server) {
    let mut control = Control::accept(&connection).await;
    assert!(matches!(control.next().await, Some(Message::Get(_))));
    let mut data = connection.open_uni().await.unwrap();
    let ready = |stream| {
        let attributes = Default::default();
        let stream = Some(stream);
        Message::Ready(Ready {
            stream,
            attributes,
            ..Ready::default()
        })
    };
    let own = data.id().into_inner();
    match server {
        Server::Mute => {}
        Server::Ready => control.send(ready(own)).await,
        Server::NamesNone => control.send(ready(own + 400)).await,
        Server::NamesAnother(id) => control.send(ready(id)).await,
        Server::Half => {
            control.send(ready(own)).await;
            let half = Bytes::from(content(100_000));
            data.write_bytes(half).await.unwrap();
        }
        Server::Reset => {
            control.send(ready(own)).await;
            let half = Bytes::from(content(100_000));
            data.write_bytes(half).await.unwrap();
            data.reset(0u32.into());
        }
        Server::NoDigest => {
            control.send(ready(own)).await;
            data.write_bytes(Bytes::from_static(b"all")).await.unwrap();
            data.finish().unwrap();
        }
        Server::Done => {
            let done = rp_transfer::message::Done {
                status: Status::Ok,
                text: String::new(),
            };
            control.send(Message::Done(done)).await;
        }
        Server::HalfClosed => {
            control.send(ready(own)).await;
            control.writer.finish().unwrap();
        }
    }
    connection.closed().await;
}

#[test]
fn a_server_that_does_nothing_more_is_exit_code_9_and_one_that_breaks_off_is_told_at_once() {
    //= spec/20-copy.md#silence
    //= type=test
    //# A side MUST end a copy in which it waits for the other when for 30 seconds no message and no
    //# byte of the data stream came, and no byte of its own was taken.
    //= spec/20-copy.md#silence
    //= type=test
    //# A side whose data stream is reset or stopped, and that gets neither Done nor Delta within 2 seconds, MUST
    //# treat the copy as failed.
    //= spec/20-copy.md#silence
    //= type=test
    //# A side that is named a data stream which the other side cannot open MUST end the request with
    //# status protocol.
    // Where an end is to be noticed at once, the time out is longer than a test may take.
    for (server, timeout, code, words) in [
        (Server::Mute, "1", 9, "has done nothing for 1 s"),
        (Server::Ready, "1", 9, "has done nothing"),
        (Server::NamesNone, "1", 9, "has done nothing"),
        (Server::Half, "1", 9, "has done nothing"),
        (Server::NoDigest, "1", 9, "has done nothing"),
        (Server::NamesAnother(0), "3600", 1, "cannot be its data"),
        (Server::NamesAnother(1), "3600", 1, "cannot be its data"),
        (Server::NamesAnother(2), "3600", 1, "cannot be its data"),
        (Server::Reset, "3600", 1, "cut off"),
        (Server::Done, "3600", 1, "done before the end"),
        (Server::HalfClosed, "3600", 1, "ended without Done"),
    ] {
        let world = World::answering(World::folders(), move |connection| {
            serve(connection, server)
        });
        println!("{server:?}");
        let output = world.run(code, &["--timeout", timeout, &world.url("file"), "file"]);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert!(!world.here("file").exists());
    }
}

/// What a server does that is given a file.
#[derive(Clone, Copy, Debug)]
enum Taker {
    /// Says Ready and reads no data.
    ReadsNothing,
    /// Takes everything and says nothing.
    Mute,
    /// Stops the data stream.
    Stops,
}

async fn take(connection: Connection, taker: Taker) {
    let mut control = Control::accept(&connection).await;
    assert!(matches!(control.next().await, Some(Message::Put(_))));
    control.send(Message::Ready(Ready::default())).await;
    let mut data = connection.accept_uni().await.unwrap();
    match taker {
        Taker::ReadsNothing => {}
        Taker::Mute => while let Ok(Some(_)) = data.read_bytes(1 << 20).await {},
        Taker::Stops => data.stop(0u32.into()),
    }
    connection.closed().await;
}

#[test]
fn a_server_that_takes_no_more_does_not_hold_the_client() {
    for (taker, source, timeout, code, words) in [
        (Taker::ReadsNothing, "/dev/zero", "1", 9, "has done nothing"),
        (Taker::Mute, "file", "1", 9, "has done nothing"),
        (Taker::Stops, "/dev/zero", "3600", 1, "stopped without Done"),
    ] {
        let world = World::answering(World::folders(), move |connection| take(connection, taker));
        fs::write(world.here("file"), content(300_000)).unwrap();
        println!("{taker:?}");
        let output = world.run(code, &["--timeout", timeout, source, &world.url("out")]);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn a_client_that_is_slow_itself_is_waited_for() {
    let world = World::new();
    let mut command = world.rpcp(&["--timeout", "1", "-", &world.url("slow")]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Its input is silent for longer than it would wait for the server.
    let waited = std::time::Instant::now();
    while waited.elapsed() < std::time::Duration::from_millis(1500) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(world.root("slow")).unwrap(), b"");
}

#[test]
fn a_put_whose_data_stream_cannot_be_is_refused() {
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        for stream in [0, 1, 3] {
            let mut control = Control::open(&connection).await;
            let put = Put {
                stream,
                path: b"file".to_vec(),
                ..Put::default()
            };
            control.send(Message::Put(put)).await;
            assert!(matches!(control.next().await, Some(Message::Ready(_))));
            assert_eq!(control.status().await, Status::Protocol);
        }
    });
}

#[test]
fn a_client_that_does_nothing_loses_its_request_and_the_name() {
    //= spec/20-copy.md#requests
    //= type=test
    //# A server MUST bound how long it waits for it.
    let world = World::impatient();
    fs::write(world.root("big"), content(40 << 20)).unwrap();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        // Puts that send nothing, and one whose control stream does not even have a request.
        let data = connection.open_uni().await.unwrap();
        let mut silent = Control::open(&connection).await;
        silent.send(put(&data, "file")).await;
        let mut mute = Control::open(&connection).await;
        mute.writer
            .write_bytes(Bytes::from_static(&[0]))
            .await
            .unwrap();
        assert!(matches!(silent.next().await, Some(Message::Ready(_))));
        assert_eq!(silent.status().await, Status::Interrupted);
        assert!(!matches!(mute.reader.read_bytes(9).await, Ok(Some(_))));
        // A Get whose bytes nobody takes.
        let mut greedy = Control::open(&connection).await;
        let path = b"big".to_vec();
        greedy
            .send(Message::Get(Get {
                path,
                ..Get::default()
            }))
            .await;
        assert!(matches!(greedy.next().await, Some(Message::Ready(_))));
        assert_eq!(greedy.status().await, Status::Interrupted);
        // The name is free for somebody else.
        let mut data = connection.open_uni().await.unwrap();
        let mut control = Control::open(&connection).await;
        control.send(put(&data, "file")).await;
        data.write_bytes(Bytes::from_static(b"here")).await.unwrap();
        data.finish().unwrap();
        control.send(digest(b"here")).await;
        assert!(matches!(control.next().await, Some(Message::Ready(_))));
        assert_eq!(control.status().await, Status::Ok);
    });
    assert!(names(&world.root("")).contains(&"file".to_owned()));
}

#[test]
fn a_side_that_says_it_is_working_may_say_so_at_any_time() {
    //= spec/20-copy.md#silence
    //= type=test
    //# Working MUST be taken in any state before Done and changes none.
    let world = World::new();
    world.runtime.block_on(async {
        let connection = world.connect().await;
        let mut data = connection.open_uni().await.unwrap();
        let mut control = Control::open(&connection).await;
        control.send(put(&data, "file")).await;
        control.send(Message::Working).await;
        data.write_bytes(Bytes::from_static(b"text")).await.unwrap();
        control.send(Message::Working).await;
        data.finish().unwrap();
        control.send(digest(b"text")).await;
        assert!(matches!(control.next().await, Some(Message::Ready(_))));
        assert_eq!(control.status().await, Status::Ok);
    });
    assert_eq!(fs::read(world.root("file")).unwrap(), b"text");
}
