//! Where a request ends, and that nobody can make us and an origin disagree about it.

mod support;

use std::sync::atomic::Ordering;

use support::{http::*, *};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc::unbounded_channel,
};

#[tokio::test]
async fn what_two_readers_may_disagree_about_is_refused() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A request whose lines are folded, have blanks around a name or hold a bare CR MUST be
    //# answered with 400.
    let world = world().await;
    let (origin, _, connections) = canned(HELLO).await;
    for (lines, status) in [
        ("X : y", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Content-Length\t: 5", 400),
        ("X: y\r\n z", 400),
        ("Transfer-Encoding:\r\n chunked", 400),
        (" X: y", 400),
        ("X: y\rTransfer-Encoding: chunked", 400),
        ("X: \0", 400),
        (": y", 400),
        ("no field", 400),
        ("X Y: z", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5, 6", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
    ] {
        // Blanks before the first field are another rule than folds.
        let (first, last) = if lines.starts_with(' ') {
            (lines, "Host: x")
        } else {
            ("Host: x", lines)
        };
        let request = format!(
            "POST http://{origin}/ HTTP/1.1\r\n{first}\r\n{last}\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"
        );
        is_refusal(&whole(&world, request.as_bytes()).await, status, &request);
    }
    let old =
        format!("POST http://{origin}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    is_refusal(&whole(&world, old.as_bytes()).await, 400, &old);
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

//= spec/10-proxy.md#http
//= type=test
//# Bodies MUST pass unchanged.
#[tokio::test]
async fn a_body_is_framed_anew() {
    let world = world().await;
    let cases = [
        (
            "Content-Length: 5\r\nContent-Length: 5",
            "hello",
            "Content-Length: 5\r\n\r\nhello",
        ),
        (
            "Content-Length: 5, 5",
            "hello",
            "Content-Length: 5\r\n\r\nhello",
        ),
        (
            "Transfer-Encoding: Chunked",
            "005;x=1\r\nhello\r\n0;y\r\nX-Sum: 7\r\nHost: evil\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
        ),
        (
            "Connection: Content-Length\r\nContent-Length: 5",
            "hello",
            "Content-Length: 5\r\n\r\nhello",
        ),
    ];
    for (lines, body, end) in cases {
        let (tell, mut told) = unbounded_channel();
        let end_of_it = end.to_owned();
        let origin = origin(move |mut tcp| {
            let (tell, end) = (tell.clone(), end_of_it.clone());
            async move {
                let mut seen = String::new();
                while !seen.ends_with(&end) {
                    seen.push(char::from(tcp.read_u8().await.unwrap()));
                }
                tell.send(seen).unwrap();
                tcp.write_all(HELLO.as_bytes()).await.unwrap();
            }
        })
        .await;
        let request = format!("POST http://{origin}/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}");
        let text = whole(&world, request.as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let seen = soon(told.recv()).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: {origin}\r\n");
        assert_eq!(seen, format!("{head}{end}"));
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_and_resets_the_origin() {
    let world = world().await;
    for body in [
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\n",
        "0\r\nX : y\r\n\r\n",
        "5\r\nhel",
    ] {
        let (tell, mut told) = unbounded_channel();
        let origin = origin(move |mut tcp| {
            let tell = tell.clone();
            async move {
                read_head(&mut tcp).await;
                tell.send("asked").unwrap();
                let end = tcp.read_to_end(&mut Vec::new()).await;
                tell.send(if end.is_err() { "reset" } else { "ended" })
                    .unwrap();
            }
        })
        .await;
        let head = format!(
            "POST http://{origin}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut tcp = ask(world.proxy, &head).await;
        assert_eq!(soon(told.recv()).await, Some("asked"));
        tcp.write_all(body.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        let text = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
        is_refusal(&text, 400, body);
        assert_eq!(soon(told.recv()).await, Some("reset"), "{body}");
    }
}

#[tokio::test]
async fn bytes_behind_a_refused_tunnel_are_no_request() {
    let world = world().await;
    let nobody = nobody().await;
    let (origin, mut heads, _) = canned(HELLO).await;
    let request = format!(
        "CONNECT {nobody} HTTP/1.1\r\nHost: x\r\n\r\nGET http://{origin}/evil HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    is_refusal(&whole(&world, request.as_bytes()).await, 502, &request);
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = world().await;
    let (origin, mut heads, _) = canned(HELLO).await;
    let request = |path: &str, lines: &str| {
        format!("GET http://{origin}/{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
    };
    let all = [
        request("1", ""),
        "\r\n".into(),
        request("2", ""),
        request("3", "Connection: close\r\n"),
    ];
    let text = whole(&world, [all.concat(), request("4", "")].concat().as_bytes()).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
    for path in ["/1", "/2", "/3"] {
        assert!(
            soon(heads.recv())
                .await
                .unwrap()
                .starts_with(&format!("GET {path} "))
        );
    }
    // What follows a `close` is not processed.
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn a_tunnel_begins_right_behind_its_head_whatever_that_says() {
    let world = world().await;
    let echo = echo().await;
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length: nonsense\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
    ] {
        let request = format!("CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n{lines}\r\nearly bytes");
        let mut tcp = ask(world.proxy, &request).await;
        let head = read_head(&mut tcp).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            !head.contains("Content-Length") && !head.contains("Transfer-"),
            "{head}"
        );
        assert_eq!(read_exactly(&mut tcp, 11).await, b"early bytes", "{lines}");
    }
}
