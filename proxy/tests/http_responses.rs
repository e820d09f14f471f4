//! What becomes of responses: what is repaired, what is refused, what must not look whole.
#![expect(
    clippy::unwrap_used,
    reason = "closures in tests fail the test that runs them"
)]

mod support;

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use support::{http::*, *};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc::unbounded_channel, oneshot},
};

//= spec/10-proxy.md#http
//= type=test
//# A response MUST be repaired where clients bear what it has: blanks around names, folded lines,
//# bare LF, lines that are no field.
#[tokio::test]
async fn odd_responses_are_repaired() {
    let world = world().await;
    let cases: [(&[u8], &str); 10] = [
        (
            b"HTTP/1.1 200 OK\r\nX-Foo : bar\r\nContent-Length: 2\r\n\r\nok",
            "X-Foo: bar\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-Foo: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
            "X-Foo: a b\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX-Foo: a\r\n\t b\r\nContent-Length: 2\r\n\r\nok",
            "X-Foo: a b\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\nX-Foo: a\nContent-Length: 2\n\nok",
            "X-Foo: a\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\n X: 1\r\nX-Foo: a\r\nContent-Length: 2\r\n\r\nok",
            "OK\r\nX-Foo: a\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\n: x\r\nno field\r\nContent-Length: 2\r\n\r\nok",
            "Content-Length: 2\r\n",
        ),
        (
            b"HTTP/1.1 200\r\nContent-Length : 2\r\n\r\nok",
            "HTTP/1.1 200 \r\n",
        ),
        (
            b"HTTP/1.1 200 \xe9\r\nX: \x80\xff\r\nContent-Length: 2\r\n\r\nok",
            "X: \u{80}\u{ff}\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: a\rb\0c\r\nContent-Length: 2\r\n\r\nok",
            "X: a b c\r\n",
        ),
        (
            b"HTTP/1.0 200 OK\r\r\nX: a\r\r\nContent-Length: 2\r\r\n\r\r\nok",
            "X: a\r\n",
        ),
    ];
    for (answer, expected) in cases {
        let text = get(&world, answer).await.text();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(text.ends_with("\r\n\r\nok"), "{text}");
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(
            !head.replace("\r\n", "").contains(['\r', '\n', '\0']),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_is_no_response_is_answered_with_502() {
    let world = world().await;
    let cases: [&[u8]; 8] = [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"<html>old</html>",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: half",
    ];
    for answer in cases {
        let text = get(&world, answer).await.text();
        assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{text}");
        assert!(
            text.contains("Proxy-Status: rapidpath; error=http_protocol_error\r\n"),
            "{text}"
        );
        let content = text.split("\r\n\r\n").nth(1).unwrap();
        assert!(content.contains("origin's response"), "{text}");
        assert!(!text.contains("hello"), "{text}");
    }
}

/// An origin that speaks first and then says nothing more, as an SSH server does.
#[tokio::test]
async fn a_target_that_speaks_another_protocol_is_answered_at_once() {
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        tcp.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(world.proxy, &request).await.0, 502);
}

#[tokio::test]
async fn every_informational_response_passes() {
    //= spec/10-proxy.md#http
    //= type=test
    //# Every 1xx response but 101 MUST be passed to an HTTP/1.1 client, and none to an HTTP/1.0
    //# client.
    const ANSWER: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nLink : </a>; rel=preload\r\nConnection: X\r\nX: 1\r\nContent-Length: 3\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
        HTTP/1.1 199 Whatever\r\n\r\n\
        HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";
    let world = world().await;
    let text = get(&world, ANSWER).await.text();
    assert_eq!(
        text,
        "HTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
         HTTP/1.1 199 Whatever\r\n\r\n\
         HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok"
    );
    let old = pass(&world, b"GET http://ORIGIN/ HTTP/1.0", "", ANSWER)
        .await
        .text();
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
    assert!(old.ends_with("ok"), "{old}");
}

#[tokio::test]
async fn an_early_hint_arrives_before_its_response() {
    let world = world().await;
    let (go, gone) = oneshot::channel();
    let gone = Arc::new(tokio::sync::Mutex::new(Some(gone)));
    let origin = origin(move |mut tcp| {
        let gone = gone.clone();
        async move {
            read_head(&mut tcp).await;
            tcp.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                .await
                .unwrap();
            let gone = gone.lock().await.take();
            gone.unwrap().await.unwrap();
            tcp.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut tcp = ask(
        world.proxy,
        &format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
    .await;
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 103"));
    go.send(()).unwrap();
    assert!(read_head(&mut tcp).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_version_and_the_date_are_ours() {
    let world = world().await;
    let text = get(&world, b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await
        .text();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let date = text
        .split("\r\nDate: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    assert_eq!((date.len(), &date[date.len() - 4..]), (29, " GMT"));
    let passed = get(
        &world,
        b"HTTP/1.2 200 OK\r\ndate: then\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(
        passed
            .text()
            .starts_with("HTTP/1.1 200 OK\r\ndate: then\r\n"),
        "{passed:?}"
    );
    assert!(!passed.text().contains("Date:"), "{passed:?}");
    let old = pass(&world, b"GET http://ORIGIN/ HTTP/1.0", "", HELLO.as_bytes()).await;
    assert!(old.asked().starts_with("GET / HTTP/1.1\r\n"), "{old:?}");
}

#[tokio::test]
async fn a_body_without_an_end_of_its_own_gets_one() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A body that ends with the origin's connection MUST be sent to an HTTP/1.1 client in chunks,
    //# and to an HTTP/1.0 client up to the connection's end.
    const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";
    let world = world().await;
    let text = get(&world, ANSWER).await.text();
    assert!(text.contains("Transfer-Encoding: chunked\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{text}");
    let old = pass(&world, b"GET http://ORIGIN/ HTTP/1.0", "", ANSWER)
        .await
        .text();
    assert!(!old.contains("Transfer-Encoding"), "{old}");
    assert!(old.contains("Connection: close\r\n"), "{old}");
    assert!(old.ends_with("\r\n\r\nhello"), "{old}");
}

#[tokio::test]
async fn a_response_framed_twice_is_taken_by_its_chunks_and_ends_its_connection() {
    let world = world().await;
    let (origin, _, connections) = canned(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    for _ in 0..2 {
        tcp.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut tcp).await;
        assert!(!head.contains("Content-Length"), "{head}");
        assert_eq!(read_exactly(&mut tcp, 15).await, b"5\r\nhello\r\n0\r\n\r\n");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn bytes_behind_a_response_are_no_response() {
    let world = world().await;
    let (origin, _, connections) = canned(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    )
    .await;
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    for _ in 0..3 {
        tcp.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut tcp).await;
        assert!(head.contains("Content-Length: 2"), "{head}");
        assert_eq!(read_exactly(&mut tcp, 2).await, b"ok");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn no_length_is_sent_where_none_may_be() {
    let world = world().await;
    let text = get(
        &world,
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    )
    .await
    .text();
    assert!(!text.contains("Content-Length"), "{text}");
    let text = get(
        &world,
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await
    .text();
    assert!(!text.contains("Transfer-Encoding"), "{text}");
}

#[tokio::test]
async fn a_response_that_breaks_off_resets_the_client() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A response that breaks off behind its head MUST reset the client's connection.
    const HALVES: [&str; 5] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    ];
    let world = world().await;
    for half in HALVES {
        for version in ["1.0", "1.1"] {
            let origin = origin(move |mut tcp| async move {
                read_head(&mut tcp).await;
                tcp.write_all(half.as_bytes()).await.unwrap();
            })
            .await;
            let request = format!("GET http://{origin}/ HTTP/{version}\r\nHost: x\r\n\r\n");
            let mut tcp = ask(world.proxy, &request).await;
            let (answer, end) = read_to_failure(&mut tcp).await;
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert_eq!(end, ErrorKind::ConnectionReset, "{half} {version}");
        }
    }
}

#[tokio::test]
async fn a_reset_ends_no_body_that_lasts_until_the_end() {
    let world = world().await;
    for version in ["1.0", "1.1"] {
        let (go, gone) = oneshot::channel::<()>();
        let gone = Arc::new(tokio::sync::Mutex::new(Some(gone)));
        let origin = origin(move |mut tcp| {
            let gone = gone.clone();
            async move {
                read_head(&mut tcp).await;
                tcp.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello")
                    .await
                    .unwrap();
                let gone = gone.lock().await.take();
                gone.unwrap().await.unwrap();
                reset_on_drop(&tcp);
            }
        })
        .await;
        let request = format!("GET http://{origin}/ HTTP/{version}\r\nHost: x\r\n\r\n");
        let mut tcp = ask(world.proxy, &request).await;
        read_head(&mut tcp).await;
        let hello = if version == "1.1" {
            "5\r\nhello\r\n"
        } else {
            "hello"
        };
        assert_eq!(read_exactly(&mut tcp, hello.len()).await, hello.as_bytes());
        go.send(()).unwrap();
        let (rest, end) = read_to_failure(&mut tcp).await;
        assert_eq!(
            (rest.as_slice(), end),
            (&b""[..], ErrorKind::ConnectionReset)
        );
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    //= spec/10-proxy.md#http
    //= type=test
    //# An origin that reads no further MUST NOT end the exchange before its response has ended.
    let world = world().await;
    let origin = origin(|mut tcp| async move {
        read_head(&mut tcp).await;
        let answer =
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n";
        tcp.write_all(answer).await.unwrap();
        tcp.shutdown().await.unwrap();
        // The body stays unread until the client has its answer and leaves.
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let request =
        format!("POST http://{origin}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n");
    let mut tcp = ask(world.proxy, &request).await;
    tcp.write_all(&[0; 10_000]).await.unwrap();
    let head = read_head(&mut tcp).await;
    assert!(head.starts_with("HTTP/1.1 413 Too Large\r\n"), "{head}");
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(read_exactly(&mut tcp, 4).await, b"big\n");
    // The client's end is awaited, so that unread bytes do not turn the answer into a reset.
    tcp.write_all(&[0; 10_000]).await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"");
}

/// An origin that serves its first connection one request, and closes it under the next one.
async fn closes_under_the_second(
    closes_with: &'static [u8],
) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let addr = origin(move |mut tcp| {
        let counter = counter.clone();
        async move {
            loop {
                if read_head(&mut tcp).await.is_empty() {
                    return;
                }
                let answer = match counter.fetch_add(1, Ordering::Relaxed) {
                    1 => closes_with,
                    _ => HELLO.as_bytes(),
                };
                tcp.write_all(answer).await.unwrap();
                if answer == closes_with {
                    return;
                }
            }
        }
    })
    .await;
    (addr, requests)
}

/// The status codes of two requests on one client connection.
async fn two(proxy: std::net::SocketAddr, first: &str, second: &str) -> (String, String) {
    let mut tcp = ask(proxy, first).await;
    let one = read_head(&mut tcp).await;
    read_exactly(&mut tcp, 5).await;
    tcp.write_all(second.as_bytes()).await.unwrap();
    (one, read_head(&mut tcp).await)
}

#[tokio::test]
async fn a_request_is_sent_again_only_where_that_does_no_harm() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A front end MUST NOT send a request twice unless its method is idempotent, it has no body
    //# and no byte of a response came.
    let world = world().await;
    let cases: [(&str, &'static [u8], &str, usize); 5] = [
        ("GET", b"", "200", 3),
        ("DELETE", b"", "200", 3),
        ("POST", b"", "502", 2),
        ("PATCH", b"", "502", 2),
        ("GET", b"HTTP/1.1 2", "502", 2),
    ];
    for (method, closes_with, status, seen) in cases {
        let (origin, requests) = closes_under_the_second(closes_with).await;
        let first = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let second = format!("{method} http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let (one, two) = two(world.proxy, &first, &second).await;
        assert!(one.starts_with("HTTP/1.1 200"), "{one}");
        assert_eq!(&two[9..12], status, "{method} {two}");
        assert_eq!(requests.load(Ordering::Relaxed), seen, "{method}");
    }
    // With a body, the bytes are gone, whatever the method.
    let (origin, requests) = closes_under_the_second(b"").await;
    let first = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let put = format!("PUT http://{origin}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    assert!(
        two(world.proxy, &first, &put)
            .await
            .1
            .starts_with("HTTP/1.1 502")
    );
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn status_codes_pass_whether_known_or_not() {
    let world = world().await;
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 205 Reset Content\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 299 Odd\r\nDate: d\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 421 Misdirected Request\r\nDate: d\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 999 Request Denied\r\nDate: d\r\nContent-Length: 2\r\n\r\nok",
    ];
    for answer in answers {
        assert_eq!(get(&world, answer).await.response, answer);
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_origin() {
    let world = world().await;
    let (tell, mut told) = unbounded_channel();
    let origin = origin(move |mut tcp| {
        let tell = tell.clone();
        async move {
            read_head(&mut tcp).await;
            tell.send("asked").unwrap();
            // No answer: only the client's leaving ends this.
            let end = tcp.read_to_end(&mut Vec::new()).await;
            tell.send(if end.is_err() { "reset" } else { "ended" })
                .unwrap();
        }
    })
    .await;
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let tcp = ask(world.proxy, &request).await;
    assert_eq!(soon(told.recv()).await, Some("asked"));
    reset_on_drop(&tcp);
    drop(tcp);
    assert_eq!(soon(told.recv()).await, Some("reset"));
}
