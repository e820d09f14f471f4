//! Futures dropped half-way: nothing is lost, nothing is done twice.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use rp_protocol::{config::TransportConfig, error::ConnectionError};

use crate::{Pair, client, client_config, pattern, server, within};

/// Poll the future once and drop it.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Make the future, poll it once, drop it, and so on until it is ready at the first poll.
macro_rules! impatiently {
    ($future:expr) => {
        loop {
            match once($future).await {
                Some(output) => break output,
                None => tokio::task::yield_now().await,
            }
        }
    };
}

#[tokio::test]
async fn a_stream_survives_futures_dropped_at_every_await() {
    within(async {
        let transport = TransportConfig::default()
            .initial_stream_credit(16 << 10)
            .max_stream_credit(32 << 10)
            .send_buffer(32 << 10);
        let pair = Pair::with(transport).await;
        let data = Bytes::from(pattern(500_000));
        let mut rest = data.clone();
        let near = pair.near.clone();
        let writer = tokio::spawn(async move {
            let mut send = impatiently!(near.open_uni()).unwrap();
            while !rest.is_empty() {
                impatiently!(send.write_some(&mut rest)).unwrap();
            }
            send.finish().unwrap();
            impatiently!(send.finished()).unwrap();
        });
        let mut receive = impatiently!(pair.far.accept_uni()).unwrap();
        let mut all = Vec::new();
        while let Some(bytes) = impatiently!(receive.read_bytes(10_000)).unwrap() {
            all.extend_from_slice(&bytes);
        }
        assert!(all == data);
        writer.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn no_stream_and_no_datagram_is_lost_to_a_dropped_accept_or_read() {
    within(async {
        let pair = Pair::new().await;
        let near = pair.near.clone();
        let opener = tokio::spawn(async move {
            for index in 0..50_u8 {
                let mut send = impatiently!(near.open_uni()).unwrap();
                send.write_bytes(Bytes::from(vec![index])).await.unwrap();
                send.finish().unwrap();
                impatiently!(send.finished()).unwrap();
            }
        });
        for index in 0..50_u8 {
            let mut receive = impatiently!(pair.far.accept_uni()).unwrap();
            assert_eq!(receive.id().index(), u64::from(index));
            assert_eq!(
                impatiently!(receive.read_bytes(9)).unwrap().unwrap(),
                vec![index]
            );
            assert_eq!(impatiently!(receive.read_bytes(9)), Ok(None));
        }
        opener.await.unwrap();

        // The queue is empty, so that waiting to send is not part of this.
        pair.near
            .send_datagram(Bytes::from_static(b"one"))
            .await
            .unwrap();
        assert_eq!(impatiently!(pair.far.read_datagram()).unwrap(), "one");
        assert_eq!(once(pair.far.read_datagram()).await, None);
        assert!(once(pair.near.closed()).await.is_none());
        pair.near.close(7.into(), b"");
        assert!(matches!(
            impatiently!(pair.far.closed()),
            ConnectionError::PeerClosed { .. }
        ));
        impatiently!(pair.client.wait_idle());
    })
    .await;
}

#[tokio::test]
async fn blocks_survive_futures_dropped_at_every_await() {
    within(async {
        let pair = Pair::new().await;
        let mut send = pair.near.open_uni().await.unwrap();
        let data = Bytes::from(pattern(200_000));
        let sent = data.clone();
        let writer = tokio::spawn(async move {
            send.write_bytes(sent).await.unwrap();
            send.finish().unwrap();
            send.finished().await.unwrap();
        });
        let mut receive = pair.far.accept_uni().await.unwrap();
        let mut all = vec![0; data.len()];
        while let Some((offset, block)) = impatiently!(receive.read_block()).unwrap() {
            let at = usize::try_from(offset).unwrap();
            all[at..at + block.len()].copy_from_slice(&block);
        }
        assert!(all == data);
        writer.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_attempt_given_up_leaves_nothing_behind_on_either_side() {
    within(async {
        let (server, client) = (server(TransportConfig::default()), client());
        let remote = server.local_addr().unwrap();
        assert!(
            once(client.connect(remote, client_config()))
                .await
                .is_none()
        );
        client.wait_idle().await;

        // And the same at the accepting side, whose client then hears of it.
        let connecting = tokio::spawn({
            let client = client.clone();
            async move { client.connect(remote, client_config()).await }
        });
        while !connecting.is_finished() {
            // The first attempt's packets may have come, too.
            if let Some(Some(incoming)) = once(server.accept()).await {
                assert!(once(incoming.accept()).await.is_none());
            }
            tokio::task::yield_now().await;
        }
        connecting.await.unwrap().unwrap_err();
        server.wait_idle().await;
    })
    .await;
}
