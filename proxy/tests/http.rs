//! HTTP clients through both sides: what reaches the origin, and what comes back.

mod support;

use std::{io::ErrorKind, sync::atomic::Ordering};

use rp_proxy::{ClientConfig, TargetAccess, exit::policy::Policy};
use support::{http::*, *};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

#[tokio::test]
async fn requests_to_one_origin_share_its_connection() {
    let world = world().await;
    let (origin, mut heads, connections) = canned(HELLO).await;
    let request = format!(
        "GET http://{origin}/a?b HTTP/1.1\r\nHost: elsewhere.example\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
         Connection: X-Private\r\nX-Private: 1\r\nX-Kept: Yes\r\n\r\n"
    );
    let mut tcp = ask(world.proxy, &request).await;
    for _ in 0..3 {
        let answer = read_head(&mut tcp).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("X-Origin: 1\r\n"), "{answer}");
        assert!(
            !answer.contains("X-Hop") && !answer.contains("Proxy-"),
            "{answer}"
        );
        assert_eq!(read_exactly(&mut tcp, 5).await, b"hello");
        //= spec/10-proxy.md#http
        //= type=test
        //# The target of an absolute-form request MUST be taken from its request line, whatever
        //# `Host` says.
        //= spec/10-proxy.md#http
        //= type=test
        //# A front end MUST NOT forward `Proxy-Authorization`.
        let head = soon(heads.recv()).await.unwrap();
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Host: {origin}\r\n")), "{head}");
        assert!(head.contains("X-Kept: Yes\r\n"), "{head}");
        assert!(
            !head.contains("Proxy-") && !head.contains("X-Private"),
            "{head}"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn another_origin_gets_another_connection() {
    let world = world().await;
    let (first, ..) = canned(HELLO).await;
    let (second, mut heads, _) = canned(HELLO).await;
    let mut tcp = ask(
        world.proxy,
        &format!("GET http://{first}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
    .await;
    read_head(&mut tcp).await;
    read_exactly(&mut tcp, 5).await;
    let request = format!("GET http://{second}/second HTTP/1.1\r\nHost: x\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    assert!(soon(heads.recv()).await.unwrap().starts_with("GET /second"));
}

#[tokio::test]
async fn a_connection_the_origin_closed_is_replaced() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        read_head(&mut tcp).await;
        tcp.write_all(HELLO.as_bytes()).await.unwrap();
    })
    .await;
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    for _ in 0..3 {
        tcp.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut tcp).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        read_exactly(&mut tcp, 5).await;
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection() {
    let world = world().await;
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
    ];
    for (method, answer) in cases {
        let (origin, ..) = canned(answer).await;
        let request = format!("{method} http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
        for _ in 0..2 {
            tcp.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut tcp).await;
            assert_eq!(head[..13], answer[..13], "{head}");
            if method == "HEAD" {
                assert!(head.contains("Content-Length: 1000"), "{head}");
            }
        }
    }
}

#[tokio::test]
async fn chunks_and_trailers_pass() {
    let world = world().await;
    let (origin, mut heads, _) = canned(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    let request = format!(
        "GET http://{origin}/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"
    );
    let mut tcp = ask(world.proxy, &request).await;
    let answer = String::from_utf8(read_to_end(&mut tcp).await)
        .unwrap()
        .to_ascii_lowercase();
    assert!(
        answer.contains("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{answer}"
    );
    assert!(
        soon(heads.recv())
            .await
            .unwrap()
            .to_ascii_lowercase()
            .contains("te: trailers")
    );
}

#[tokio::test]
async fn an_old_client_gets_a_body_that_ends_with_the_connection() {
    let world = world().await;
    let (origin, ..) =
        canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .await;
    let mut tcp = ask(
        world.proxy,
        &format!("GET http://{origin}/ HTTP/1.0\r\n\r\n"),
    )
    .await;
    let answer = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn a_body_is_held_back_until_the_origin_asks() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        let head = read_head(&mut tcp).await.to_ascii_lowercase();
        assert!(head.contains("expect: 100-continue"), "{head}");
        tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_exactly(&mut tcp, 4).await, b"body");
        tcp.write_all(HELLO.as_bytes()).await.unwrap();
    })
    .await;
    let request = format!(
        "POST http://{origin}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut tcp = ask(world.proxy, &request).await;
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    tcp.write_all(b"body").await.unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn an_origin_may_refuse_a_body_unseen() {
    let world = world().await;
    let (origin, ..) = canned("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").await;
    let request = format!(
        "POST http://{origin}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(status(world.proxy, &request).await.0, 417);
}

#[tokio::test]
async fn contradictory_framing_is_refused() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A request with both `Transfer-Encoding` and `Content-Length` MUST be answered with 400.
    let world = world().await;
    let (origin, ..) = canned(HELLO).await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: gzip",
    ] {
        let request =
            format!("POST http://{origin}/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n0\r\n\r\n");
        assert_eq!(status(world.proxy, &request).await.0, 400, "{framing}");
    }
}

#[tokio::test]
async fn heads_have_limits() {
    let world = world().await;
    let long = format!(
        "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_eq!(status(world.proxy, &long).await.0, 431);
    let many = format!(
        "GET http://a.example/ HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    assert_eq!(status(world.proxy, &many).await.0, 431);
}

#[tokio::test]
async fn an_upgrade_becomes_a_relay() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        let head = read_head(&mut tcp).await.to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\n\r\nfirst";
        tcp.write_all(answer).await.unwrap();
        assert_eq!(read_exactly(&mut tcp, 4).await, b"ping");
        tcp.write_all(b"pong").await.unwrap();
    })
    .await;
    let request = format!(
        "GET http://{origin}/chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let mut tcp = ask(world.proxy, &request).await;
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.to_ascii_lowercase().contains("upgrade: websocket"),
        "{head}"
    );
    assert_eq!(read_exactly(&mut tcp, 5).await, b"first");
    tcp.write_all(b"ping").await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"pong");
}

#[tokio::test]
async fn connect_relays_and_takes_early_data() {
    let world = world().await;
    let echo = echo().await;
    let mut tcp = ask(
        world.proxy,
        &format!("CONNECT {echo} HTTP/1.1\r\nHost: x\r\n\r\nearly"),
    )
    .await;
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        !head.to_ascii_lowercase().contains("content-length"),
        "{head}"
    );
    assert_eq!(read_exactly(&mut tcp, 5).await, b"early");
    tcp.write_all(b"late").await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"late");
}

#[tokio::test]
async fn outcomes_have_their_status() {
    let world = world().await;
    let nobody = nobody().await;
    let (code, head) = status(
        world.proxy,
        &format!("CONNECT {nobody} HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
    .await;
    assert_eq!(code, 502);
    assert!(
        head.contains("proxy-status: rapidpath; error=connection_refused"),
        "{head}"
    );
    let get = format!("GET http://{nobody}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let (code, head) = status(world.proxy, &get).await;
    assert_eq!(code, 502);
    assert!(head.contains("error=connection_refused"), "{head}");

    let strict = world_with(
        Policy::default(),
        TargetAccess::All,
        ClientConfig::default(),
    )
    .await;
    for request in [
        get,
        "CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n".into(),
    ] {
        let (code, head) = status(strict.proxy, &request).await;
        assert_eq!(code, 403);
        assert!(head.contains("error=destination_ip_prohibited"), "{head}");
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET https://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT a.example HTTP/1.1\r\nHost: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(status(world.proxy, request).await.0, 400, "{request}");
    }
}

#[tokio::test]
async fn a_refused_request_can_be_repeated_with_a_password() {
    let world = world_with(loopback_allowed(), TargetAccess::All, with_password()).await;
    let (origin, mut heads, _) = canned(HELLO).await;
    let get = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n");
    let mut tcp = ask(world.proxy, &format!("{get}\r\n")).await;
    let head = read_head(&mut tcp).await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 407"), "{head}");
    assert!(
        head.contains("proxy-authenticate: basic realm=\"rapidpath\""),
        "{head}"
    );
    let length = head
        .split("content-length: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    read_exactly(&mut tcp, length.parse().unwrap()).await;
    // alice:sesame
    let request = format!("{get}Proxy-Authorization: Basic YWxpY2U6c2VzYW1l\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
    assert!(
        !soon(heads.recv())
            .await
            .unwrap()
            .contains("Proxy-Authorization")
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await
            .unwrap();
    })
    .await;
    let mut tcp = ask(
        world.proxy,
        &format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
    .await;
    let (answer, end) = read_to_failure(&mut tcp).await;
    assert!(answer.ends_with(b"5\r\nhello\r\n"), "{answer:?}");
    assert_eq!(end, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn credentials_are_asked_for_with_each_request() {
    let world = world_with(loopback_allowed(), TargetAccess::All, with_password()).await;
    let (origin, ..) = canned(HELLO).await;
    let get = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n");
    // alice:sesame
    let login = "Proxy-Authorization: Basic YWxpY2U6c2VzYW1l\r\n\r\n";
    let mut tcp = ask(world.proxy, &format!("{get}{login}")).await;
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
    read_exactly(&mut tcp, 5).await;
    tcp.write_all(format!("{get}\r\n").as_bytes())
        .await
        .unwrap();
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 407"));
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_refused() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nevil";
    let world = world().await;
    for (version, lines) in [
        ("1.1", ""),
        ("1.1", "Upgrade: x\r\n"),
        ("1.1", "Connection: Upgrade\r\nUpgrade: y\r\n"),
        ("1.0", "Connection: Upgrade\r\nUpgrade: x\r\n"),
    ] {
        let start = format!("GET http://ORIGIN/ HTTP/{version}");
        let text = pass(&world, start.as_bytes(), lines, ANSWER).await.text();
        assert!(text.starts_with("HTTP/1.1 502"), "{text}");
        assert!(!text.contains("evil"), "{text}");
    }
}

#[tokio::test]
async fn a_switch_says_what_to() {
    let world = world().await;
    let lines = "Connection: Upgrade\r\nUpgrade: y, X\r\n";
    for (answer, told) in [
        (
            &b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes"[..],
            "Upgrade: x\r\n",
        ),
        (&b"HTTP/1.1 101 Go\r\n\r\nbytes"[..], "Upgrade: y, X\r\n"),
    ] {
        let text = pass(&world, b"GET http://ORIGIN/ HTTP/1.1", lines, answer)
            .await
            .text();
        assert!(text.starts_with("HTTP/1.1 101 Go\r\n"), "{text}");
        assert!(text.contains(told), "{text}");
        assert!(text.ends_with("Connection: upgrade\r\n\r\nbytes"), "{text}");
    }
}
