//! Streams and datagrams between two live endpoints.

use std::collections::BTreeMap;

use bytes::Bytes;
use rp_protocol::{
    RecvStream, SendStream,
    config::TransportConfig,
    error::{ReadError, SendDatagramError, WriteError},
    units::CloseCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Pair, SERVICE, identity, pattern, within};

async fn echo((mut send, mut receive): (SendStream, RecvStream)) {
    tokio::io::copy(&mut receive, &mut send)
        .await
        .expect("the other end reads and writes to the end");
    send.shutdown().await.expect("the stream is open");
    send.finished().await.expect("the other end reads it all");
}

/// Write `data` and read as much back, at the same time.
async fn round_trip((mut send, mut receive): (SendStream, RecvStream), data: &[u8]) {
    let mut back = Vec::new();
    let (written, read) = tokio::join!(
        async {
            send.write_all(data).await?;
            send.shutdown().await
        },
        receive.read_to_end(&mut back)
    );
    written.expect("the other end reads it all");
    read.expect("the other end finishes");
    assert_eq!(back.len(), data.len());
    assert!(back == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_come_back_equal() {
    within(async {
        let pair = Pair::new().await;
        let far = pair.far.clone();
        tokio::spawn(async move { echo(far.accept_bi().await.unwrap()).await });
        round_trip(pair.near.open_bi().await.unwrap(), &pattern(5_000_000)).await;
        let stats = pair.client.stats();
        assert!(stats.sent_datagrams > stats.send_calls, "batches were used");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_echo_at_once() {
    within(async {
        let pair = Pair::new().await;
        let far = pair.far.clone();
        tokio::spawn(async move {
            while let Ok(stream) = far.accept_bi().await {
                tokio::spawn(echo(stream));
            }
        });
        let mut streams = tokio::task::JoinSet::new();
        for index in 0..100 {
            let near = pair.near.clone();
            streams.spawn(async move {
                let data = pattern(50_000 + index * 1000);
                round_trip(near.open_bi().await.unwrap(), &data).await;
            });
        }
        while let Some(done) = streams.join_next().await {
            done.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn both_ends_know_whom_they_talk_to_and_about_what() {
    within(async {
        let pair = Pair::new().await;
        assert_eq!(pair.near.peer(), identity(1).public_key());
        assert_eq!(pair.far.peer(), identity(2).public_key());
        assert_eq!(pair.near.service(), SERVICE);
        assert_eq!(pair.far.service(), SERVICE);
        assert_eq!(
            pair.near.remote_address(),
            pair.server.local_addr().unwrap()
        );
        assert_eq!(pair.far.remote_address(), pair.client.local_addr().unwrap());
    })
    .await;
}

#[tokio::test]
async fn one_direction_ends_while_the_other_goes_on() {
    within(async {
        let pair = Pair::new().await;
        let (mut send, mut receive) = pair.near.open_bi().await.unwrap();
        send.write_bytes(Bytes::from_static(b"question"))
            .await
            .unwrap();
        send.finish().unwrap();
        let (mut answer, mut question) = pair.far.accept_bi().await.unwrap();
        let mut text = String::new();
        question.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        send.finished().await.unwrap();

        answer.write_all(b"answer").await.unwrap();
        answer.finish().unwrap();
        let mut text = String::new();
        receive.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answer");
        assert_eq!(receive.read_bytes(1).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn a_reset_reaches_the_reader_with_its_code() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_all(b"half a wo").await.unwrap();
        let mut receive = pair.far.accept_uni().await.unwrap();
        assert_eq!(receive.read_bytes(100).await.unwrap().unwrap(), "half a wo");
        send.reset(CloseCode::from_u32(7));
        let error = Err(ReadError::Reset(CloseCode::from_u32(7)));
        assert_eq!(receive.read_bytes(100).await, error);
        assert_eq!(
            receive.read_bytes(100).await,
            error,
            "told again when asked again"
        );
        assert_eq!(
            send.write_bytes(Bytes::from_static(b"rd")).await,
            Err(WriteError::Closed)
        );
        assert_eq!(send.finish(), Err(WriteError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_reset_after_delivery_lets_everything_be_read_first() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        let data = vec![7; 200_000];
        send.write_all(&data).await.unwrap();
        send.reset_after_delivery(CloseCode::from_u32(7));
        drop(send);
        let mut receive = pair.far.accept_uni().await.unwrap();
        let mut read = Vec::new();
        let error = receive.read_to_end(&mut read).await.unwrap_err();
        let cause = error.get_ref().unwrap().downcast_ref::<ReadError>();
        assert_eq!(cause, Some(&ReadError::Reset(CloseCode::from_u32(7))));
        assert!(read == data);
    })
    .await;
}

#[tokio::test]
async fn a_stop_reaches_the_writer_with_its_code() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_all(b"unwanted").await.unwrap();
        let mut receive = pair.far.accept_uni().await.unwrap();
        receive.stop(CloseCode::from_u32(9));
        assert_eq!(send.stopped().await, Ok(Some(CloseCode::from_u32(9))));
        let error = send.write_all(b"more").await.unwrap_err();
        let cause = error.get_ref().unwrap().downcast_ref::<WriteError>();
        assert_eq!(cause, Some(&WriteError::Stopped(CloseCode::from_u32(9))));
        assert_eq!(receive.read_bytes(1).await, Err(ReadError::Closed));
    })
    .await;
}

#[tokio::test]
async fn a_send_stream_dropped_unfinished_is_reset() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_all(b"part").await.unwrap();
        let mut receive = pair.far.accept_uni().await.unwrap();
        drop(send);
        let error = receive.read_to_end(&mut Vec::new()).await.unwrap_err();
        let cause = error.get_ref().unwrap().downcast_ref::<ReadError>();
        assert_eq!(cause, Some(&ReadError::Reset(CloseCode::default())));
    })
    .await;
}

#[tokio::test]
async fn a_send_stream_dropped_after_its_end_is_still_delivered() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_bytes(pattern(60_000).into()).await.unwrap();
        send.finish().unwrap();
        drop(send);
        let mut all = Vec::new();
        let mut receive = pair.far.accept_uni().await.unwrap();
        receive.read_to_end(&mut all).await.unwrap();
        assert!(all == pattern(60_000));
    })
    .await;
}

#[tokio::test]
async fn a_receive_stream_dropped_unread_is_stopped() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        send.write_all(b"nobody reads this").await.unwrap();
        drop(pair.far.accept_uni().await.unwrap());
        assert_eq!(send.stopped().await, Ok(Some(CloseCode::default())));
    })
    .await;
}

#[tokio::test]
async fn blocks_put_together_by_offset_are_the_stream() {
    within(async {
        let pair = Pair::new().await;
        let data = pattern(1_000_000);
        let mut send = pair.near.open_uni().await.unwrap();
        let sent = Bytes::from(data.clone());
        let writer = tokio::spawn(async move {
            send.write_bytes(sent).await.unwrap();
            send.finish().unwrap();
            send.finished().await.unwrap();
        });
        let mut receive = pair.far.accept_uni().await.unwrap();
        let mut blocks = BTreeMap::new();
        while let Some((offset, block)) = receive.read_block().await.unwrap() {
            assert!(blocks.insert(offset, block).is_none());
        }
        writer.await.unwrap();
        assert!(blocks.into_values().flatten().eq(data));
    })
    .await;
}

#[tokio::test]
async fn slices_read_many_at_a_time_are_the_stream_in_order() {
    within(async {
        let pair = Pair::new().await;
        let data = pattern(1_000_000);
        let mut send = pair.near.open_uni().await.unwrap();
        let sent = Bytes::from(data.clone());
        let writer = tokio::spawn(async move {
            send.write_bytes(sent).await.unwrap();
            send.finish().unwrap();
            send.finished().await.unwrap();
        });
        let mut receive = pair.far.accept_uni().await.unwrap();
        let mut slices = Vec::new();
        let mut bytes = 0;
        while receive.read_slices(&mut slices, 30_000).await.unwrap() {
            let whole: usize = slices.iter().map(Bytes::len).sum();
            assert!((1..=30_000).contains(&(whole - bytes)));
            bytes = whole;
        }
        assert!(receive.is_ended());
        writer.await.unwrap();
        assert!(slices.into_iter().flatten().eq(data));
    })
    .await;
}

#[tokio::test]
async fn opening_waits_for_the_peers_limit_and_goes_on_when_a_stream_ends() {
    within(async {
        let transport = TransportConfig::default().max_streams_uni(1);
        let pair = Pair::with(transport).await;
        let mut first = pair.near.open_uni().await.unwrap();
        first.write_all(b"1").await.unwrap();
        let opener = tokio::spawn({
            let near = pair.near.clone();
            async move { near.open_uni().await.unwrap() }
        });
        let mut receive = pair.far.accept_uni().await.unwrap();
        first.finish().unwrap();
        receive.read_to_end(&mut Vec::new()).await.unwrap();
        let mut second = opener.await.unwrap();
        second.write_all(b"2").await.unwrap();
        assert_eq!(second.id().index(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer_back() {
    within(async {
        let transport = TransportConfig::default()
            .initial_stream_credit(64 << 10)
            .max_stream_credit(64 << 10)
            .send_buffer(64 << 10);
        let pair = Pair::with(transport).await;
        let mut send = pair.near.open_uni().await.unwrap();
        let data = Bytes::from(pattern(1 << 20));
        let mut rest = data.clone();
        let blocked = tokio::time::timeout(std::time::Duration::from_millis(200), async {
            while !rest.is_empty() {
                send.write_some(&mut rest).await.unwrap();
            }
        });
        assert!(blocked.await.is_err(), "a megabyte went into 128 KB");

        let mut receive = pair.far.accept_uni().await.unwrap();
        let writer = tokio::spawn(async move {
            send.write_bytes(rest).await.unwrap();
            send.finish().unwrap();
            send.finished().await.unwrap();
        });
        let mut all = Vec::new();
        receive.read_to_end(&mut all).await.unwrap();
        assert!(all == data);
        writer.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn datagrams_travel_whole_and_too_large_ones_are_refused() {
    within(async {
        let pair = Pair::new().await;
        pair.near
            .send_datagram(Bytes::from_static(b"ping"))
            .await
            .unwrap();
        assert_eq!(pair.far.read_datagram().await.unwrap(), "ping");
        pair.far
            .send_datagram(Bytes::from_static(b"pong"))
            .await
            .unwrap();
        assert_eq!(pair.near.read_datagram().await.unwrap(), "pong");
        let huge = Bytes::from(pattern(70_000));
        let refused = pair.near.send_datagram(huge).await;
        assert_eq!(refused, Err(SendDatagramError::TooLarge));
    })
    .await;
}
