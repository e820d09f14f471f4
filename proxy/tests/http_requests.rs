//! What becomes of requests: what passes byte for byte, what is refused and what the refusal says.
mod support;

use std::sync::atomic::Ordering;

use support::{http::*, *};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn targets_pass_byte_for_byte() {
    //= spec/10-proxy.md#http
    //= type=test
    //# The path and the query of a target MUST pass byte for byte.
    let world = world().await;
    let targets: [&[u8]; 12] = [
        b"/?a={\"b\":1}",
        b"/<x>?<y>",
        b"/`a`?`b`",
        b"/a|b^c\\d?[e]",
        b"/caf\xe9?\xfc",
        b"/caf\xc3\xa9?\xf0\x9f\x9a\x80",
        b"/%7Ea/../b//c/./%2e%2E?%zz&%",
        b"/#fragment?no_query",
        b"/a;b=c,d:e@f!$'()*+~-._",
        b"/http://other.example/?http://x",
        b"/?",
        b"/\xff\x80",
    ];
    for target in targets {
        let start = [b"GET http://ORIGIN".as_slice(), target, b" HTTP/1.1"].concat();
        let passed = pass(&world, &start, "", HELLO.as_bytes()).await;
        let line = [b"GET ".as_slice(), target, b" HTTP/1.1\r\n"].concat();
        assert!(passed.request.starts_with(&line), "{}", passed.asked());
        assert!(
            passed.text().starts_with("HTTP/1.1 200 OK\r\n"),
            "{passed:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_path_becomes_one() {
    let world = world().await;
    for (start, line) in [
        ("GET http://ORIGIN HTTP/1.1", "GET / HTTP/1.1\r\n"),
        ("GET http://ORIGIN?a=/ HTTP/1.1", "GET /?a=/ HTTP/1.1\r\n"),
        ("OPTIONS http://ORIGIN HTTP/1.1", "OPTIONS * HTTP/1.1\r\n"),
        ("OPTIONS http://ORIGIN/ HTTP/1.1", "OPTIONS / HTTP/1.1\r\n"),
        (
            "OPTIONS http://ORIGIN?a HTTP/1.1",
            "OPTIONS /?a HTTP/1.1\r\n",
        ),
        (
            "M-SEARCH HTTP://ORIGIN/x HTTP/1.7",
            "M-SEARCH /x HTTP/1.1\r\n",
        ),
    ] {
        let asked = pass(&world, start.as_bytes(), "", HELLO.as_bytes())
            .await
            .asked();
        assert!(asked.starts_with(line), "{asked}");
    }
}

#[tokio::test]
async fn blanks_and_controls_in_a_target_are_refused() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A target with a blank or a control character MUST be answered with 400.
    let world = world().await;
    for byte in [" ", "\t", "\0", "\x0b", "\x1b", "\x7f", "\r"] {
        let request = format!("GET http://a.example/a{byte}b HTTP/1.1\r\nHost: x\r\n\r\n");
        is_refusal(&whole(&world, request.as_bytes()).await, 400, &request);
    }
}

#[tokio::test]
async fn a_host_is_asked_for_once() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A request with more than one `Host`, an HTTP/1.1 request without one and one whose `Host`
    //# is no host MUST be answered with 400.
    let world = world().await;
    for (start, lines) in [
        ("GET http://a.example/ HTTP/1.1", ""),
        ("GET http://a.example/ HTTP/1.2", ""),
        ("CONNECT a.example:80 HTTP/1.1", ""),
        ("GET http://a.example/ HTTP/1.1", "Host: a\r\nHost: a\r\n"),
        ("GET http://a.example/ HTTP/1.0", "Host: a\r\nhost: b\r\n"),
        ("GET http://a.example/ HTTP/1.1", "Host: a b\r\n"),
        ("GET http://a.example/ HTTP/1.1", "Host: a/b\r\n"),
        ("CONNECT a.example:80 HTTP/1.1", "Host: a\r\nHost: a\r\n"),
    ] {
        let request = format!("{start}\r\n{lines}\r\n");
        let text = whole(&world, request.as_bytes()).await;
        is_refusal(&text, 400, &request);
        assert!(text.contains("exactly one"), "{text}");
    }
    let (origin, mut heads, _) = canned(HELLO).await;
    let old = format!("GET http://{origin}/ HTTP/1.0\r\n\r\n");
    assert!(
        whole(&world, old.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        soon(heads.recv())
            .await
            .unwrap()
            .contains(&format!("Host: {origin}\r\n"))
    );
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    //= spec/10-proxy.md#http
    //= type=test
    //# Every error answer but one to HEAD MUST have content that says what to do.
    let world = world().await;
    let nobody = nobody().await;
    let cases = [
        (
            "GET /path HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "set it as one",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "set it as one",
        ),
        (
            "GET https://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "use CONNECT",
        ),
        (
            "GET http://u@a.example/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "check the URL",
        ),
        (
            "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "check the URL",
        ),
        (
            "CONNECT a.example HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "CONNECT host:port",
        ),
        (
            "CONNECT a.example:0 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
            "CONNECT host:port",
        ),
        (
            "GET http://a.example/\r\n\r\n".into(),
            400,
            "METHOD TARGET HTTP/1.1",
        ),
        ("nonsense\r\n".into(), 400, "METHOD TARGET HTTP/1.1"),
        (
            "GET http://a.example/ HTTP/1.1\r\nHost: a".into(),
            400,
            "send it whole",
        ),
        (
            "GET http://a.example/ HTTP/2.0\r\n\r\n".into(),
            505,
            "HTTP/1.1",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, "HTTP/1.1"),
        (
            format!("GET http://{nobody}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            502,
            "check the port",
        ),
        (
            format!("CONNECT {nobody} HTTP/1.1\r\nHost: a\r\n\r\n"),
            502,
            "check the port",
        ),
        (
            "TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n".into(),
            400,
            "remove it",
        ),
    ];
    for (request, status, advice) in cases {
        let text = whole(&world, request.as_bytes()).await;
        let start = &request[..request.len().min(60)];
        is_refusal(&text, status, start);
        assert!(text.contains(advice), "{start}: {text}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_with_advice() {
    let world = world().await;
    let long = "x".repeat(70_000);
    let fields = "X: y\r\n".repeat(200);
    let cases = [
        (
            format!("GET http://a/{long} HTTP/1.1\r\n\r\n"),
            414,
            "in a body",
        ),
        (
            format!("GET http://a/ HTTP/1.1\r\nX: {long}\r\n\r\n"),
            431,
            "fewer or shorter",
        ),
        (
            format!("GET http://a/ HTTP/1.1\r\n{fields}\r\n"),
            431,
            "fewer or shorter",
        ),
    ];
    for (request, status, advice) in cases {
        let text = whole(&world, request.as_bytes()).await;
        is_refusal(&text, status, &request[..40]);
        assert!(text.contains(advice), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_given_up() {
    // The paused clock jumps to the timeout as soon as everybody waits.
    let world = world().await;
    let (origin, _, connections) = canned(HELLO).await;
    let request = format!("POST http://{origin}/ HTTP/1.1\r\nHost: x\r\nX: y\r\n");
    let mut tcp = ask(world.proxy, &request).await;
    let mut text = String::new();
    tcp.read_to_string(&mut text).await.unwrap();
    is_refusal(&text, 408, "half a head");
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_old_client_keeps_no_connection() {
    let world = world().await;
    let (origin, ..) = canned(HELLO).await;
    let request =
        format!("GET http://{origin}/ HTTP/1.0\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n");
    let mut tcp = ask(world.proxy, &request).await;
    let text = String::from_utf8(read_to_end(&mut tcp).await).unwrap();
    assert!(text.contains("Connection: close\r\n"), "{text}");
    assert!(text.ends_with("hello"), "{text}");
}

#[tokio::test]
async fn a_request_whose_forwards_are_used_up_ends_here() {
    let world = world().await;
    let (origin, mut heads, _) = canned(HELLO).await;
    let ask = |method: &str, lines: &str| {
        format!("{method} http://{origin}/x HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
    };
    let secret = "Proxy-Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\nCookie: c=1\r\n";
    let trace = ask(
        "TRACE",
        &format!("X-Seen: 1\r\nMax-Forwards: 0\r\n{secret}"),
    );
    let text = whole(&world, trace.as_bytes()).await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n"),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "\r\n\r\nTRACE http://{origin}/x HTTP/1.1\r\nHost: x\r\n"
        )),
        "{text}"
    );
    assert!(text.contains("X-Seen: 1\r\n"), "{text}");
    assert!(!text.contains("YTpi") && !text.contains("c=1"), "{text}");
    let options = ask("OPTIONS", "Max-Forwards: 0\r\n");
    assert!(
        whole(&world, options.as_bytes())
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
    assert!(heads.try_recv().is_err());

    for (method, lines, passed) in [
        ("TRACE", "Max-Forwards: 3\r\n", "Max-Forwards: 2\r\n"),
        ("OPTIONS", "Max-Forwards: 1\r\n", "Max-Forwards: 0\r\n"),
        ("GET", "Max-Forwards: 0\r\n", "Max-Forwards: 0\r\n"),
    ] {
        whole(&world, ask(method, lines).as_bytes()).await;
        let head = soon(heads.recv()).await.unwrap();
        assert!(head.contains(passed), "{head}");
    }
    whole(&world, ask("OPTIONS", "").as_bytes()).await;
    let head = soon(heads.recv()).await.unwrap();
    assert!(!head.contains("Max-Forwards"), "{head}");
}

#[tokio::test]
async fn a_refusal_to_head_has_no_content() {
    let world = world().await;
    let request = format!(
        "HEAD http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        nobody().await
    );
    let text = whole(&world, request.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 502"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_ours_passes_untouched() {
    let world = world().await;
    let lines = "Via: 1.0 fred, 1.1 p\r\nAuthorization: Basic YTpi\r\nIf-None-Match: \"x\"\r\nB: 1\r\nRange: bytes=0-\r\nB: 2\r\n\
                 X-Odd: \u{e9}  y\r\nCache-Control: no-transform\r\nExpect: odd\r\n";
    let answer = b"HTTP/1.1 401 Who?\r\nWWW-Authenticate: Basic realm=\"a, b\"\r\nDate: d\r\nVary: x\r\n\
                   WWW-Authenticate: Other\r\nAllow: GET\r\nETag: W/\"1\"\r\nContent-Encoding: x\r\n\
                   Content-Length: 0\r\n\r\n";
    let passed = pass(&world, b"GET http://ORIGIN/ HTTP/1.1", lines, answer).await;
    let asked = String::from_utf8(passed.request.clone()).unwrap();
    assert!(asked.ends_with(&format!("\r\n{lines}\r\n")), "{asked}");
    // Besides the request line, `Host` and the empty line, nothing is added.
    assert_eq!(asked.lines().count(), lines.lines().count() + 3, "{asked}");
    assert_eq!(passed.response, answer);
}
