//! Clients that hold a place and hardly move.

mod support;

use std::time::Duration;

use rp_proxy::{ClientConfig, TargetAccess};
use support::{http::*, *};
use tokio::{io::AsyncWriteExt as _, time::timeout};

const GRACE: Duration = Duration::from_millis(300);

async fn impatient() -> World {
    let config = ClientConfig::default().body_grace(GRACE);
    world_with(loopback_allowed(), TargetAccess::All, config).await
}

/// Sends a byte of a body now and then, until something comes back: its head.
async fn trickle(request: &str, world: &World) -> String {
    let mut tcp = ask(world.proxy, request).await;
    loop {
        let write = tcp.write_all(b"x").await;
        if write.is_err() || timeout(GRACE / 10, tcp.readable()).await.is_ok() {
            return read_head(&mut tcp).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_is_ended_with_408() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A front end MUST bound how long the body of a request may take that the origin does not answer yet.
    let world = impatient().await;
    let silent = origin(|tcp| async move {
        let _held = tcp;
        std::future::pending().await
    })
    .await;
    let request =
        format!("POST http://{silent}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n");
    let answer = soon(trickle(&request, &world)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn an_origin_that_answers_meanwhile_is_talked_to_for_as_long_as_both_like() {
    let world = impatient().await;
    let chatty = origin(|mut tcp| async move {
        read_head(&mut tcp).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        tcp.write_all(head.as_bytes()).await.unwrap();
        let body = read_exactly(&mut tcp, 2).await;
        let _ = tcp.write_all(&body).await;
    })
    .await;
    let request =
        format!("POST http://{chatty}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nh");
    let mut tcp = ask(world.proxy, &request).await;
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200 "));
    // For longer than a body may take that nobody answers.
    assert!(timeout(3 * GRACE, read_exactly(&mut tcp, 1)).await.is_err());
    tcp.write_all(b"i").await.unwrap();
    assert_eq!(read_exactly(&mut tcp, 2).await, b"hi");
}
