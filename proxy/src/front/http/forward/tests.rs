//! Fields that end here and those that go on.

use super::{super::head::HeadEnd, *};

fn head(start: &str, lines: &str) -> RequestHead {
    let mut buf = BytesMut::from(format!("{start}\r\n{lines}\r\n").as_bytes());
    RequestHead::take(&mut buf, &mut HeadEnd::default())
        .unwrap()
        .unwrap()
}

fn forwarded(start: &str, lines: &str) -> String {
    let head = head(start, lines);
    let route = Route::of(&head.target).unwrap();
    let hops = max_forwards(&head).unwrap();
    let bytes = request(&head, &route, Framing::None, hops);
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn get(lines: &str) -> String {
    forwarded("GET http://a.example/x?y=1 HTTP/1.1", lines)
}

fn answered(lines: &str, framing: Framing) -> String {
    let head = format!("HTTP/1.0 200 Fine\r\nDate: d\r\n{lines}\r\n");
    let mut buf = BytesMut::from(head.as_bytes());
    let head = ResponseHead::take(&mut buf, &mut HeadEnd::default())
        .unwrap()
        .unwrap();
    String::from_utf8(response(&head, framing, false).to_vec()).unwrap()
}

#[test]
fn the_request_line_names_the_target_whatever_host_says() {
    assert_eq!(
        get("Accept: */*\r\nhost: evil.example\r\n"),
        "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n"
    );
    let host = |target: &str| {
        let forwarded = forwarded(&format!("GET {target} HTTP/1.1"), "");
        forwarded.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(host("http://A.Example:80/"), "Host: A.Example");
    assert_eq!(host("http://a.example:8080/"), "Host: a.example:8080");
    assert_eq!(host("http://[::1]:81/"), "Host: [::1]:81");
}

//= spec/10-proxy.md#http
//= type=test
//# Hop-by-hop fields MUST be removed in both directions, an agreed `Upgrade` excepted.
#[test]
fn hop_by_hop_and_proxy_fields_end_here() {
    let lines = "Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
                 connection: close, , Host, x-other\r\nX-Other: 1\r\nProxy-Connection: keep-alive\r\n\
                 Proxy-Authorization: Basic YTpi\r\nProxy-Anything: 1\r\nTE: gzip\r\n\
                 Upgrade: h2c\r\nContent-Length: 0\r\nTrailer: x-sum\r\nX-Kept: 1\r\n";
    assert_eq!(
        get(lines),
        "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nTrailer: x-sum\r\nX-Kept: 1\r\n\r\n"
    );
    let answer = answered(
        "Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nKeep-Alive: x\r\n\
         Transfer-Encoding: chunked\r\nContent-Length: 7\r\nUpgrade: h2\r\nProxy-Status: x\r\n",
        Framing::Chunked,
    );
    assert_eq!(
        answer,
        "HTTP/1.1 200 Fine\r\nDate: d\r\nProxy-Status: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
}

#[test]
fn unknown_fields_pass_in_their_order_and_case() {
    let lines =
        "B: 1\r\na: 2\r\nB: 3\r\nWWW-authenticate: x\r\nAllow:\r\nAuthorization: Basic eA==\r\n";
    assert!(get(lines).ends_with(&format!("{lines}\r\n").replace("Allow:\r", "Allow: \r")));
}

#[test]
fn an_upgrade_goes_on_with_its_connection_option() {
    let lines = "Connection: Upgrade, x-hop\r\nUpgrade: websocket\r\nX-Hop: 1\r\n";
    let end = "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(
        get(lines),
        format!("GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n{end}")
    );
    let old = forwarded("GET http://a.example/x?y=1 HTTP/1.0", lines);
    assert!(!old.contains("pgrade"), "{old}");
}

#[test]
fn trailers_may_be_asked_for_with_a_connection_option() {
    let forwarded = get("TE: deflate, trailers\r\nConnection: TE\r\n");
    assert!(
        forwarded.ends_with("TE: trailers\r\nConnection: TE\r\n\r\n"),
        "{forwarded}"
    );
}

#[test]
fn trailers_that_frame_route_or_are_about_a_hop_are_dropped() {
    let mut fields = Fields::default();
    fields.push("Connection", "X-Hop");
    let mut section = Fields::default();
    for name in [
        "X-Sum",
        "X-Hop",
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Proxy-Authorization",
        "TE",
    ] {
        section.push(name, "1");
    }
    let mut out = BytesMut::new();
    trailers(&fields, section).write(&mut out);
    assert_eq!(out, &b"X-Sum: 1\r\n"[..]);
}

#[test]
fn an_old_clients_expectation_is_ignored() {
    let lines = "Expect: 100-continue\r\n";
    assert!(get(lines).contains(lines));
    assert!(!forwarded("PUT http://a/ HTTP/1.0", lines).contains("Expect"));
}

#[test]
fn a_length_is_passed_where_no_body_follows() {
    let length = "Content-Length: 1000\r\n";
    assert!(answered(length, Framing::None).contains(length));
    for lines in [
        "Content-Length: x\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1000\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert!(
            !answered(lines, Framing::None).contains("Content-Length"),
            "{lines}"
        );
    }
}

#[test]
fn forwards_are_counted_down_for_trace_and_options_only() {
    let hops = |method: &str, value: &str| {
        max_forwards(&head(
            &format!("{method} http://a/ HTTP/1.1"),
            &format!("{value}\r\n"),
        ))
    };
    assert_eq!(hops("TRACE", "Max-Forwards: 0"), Ok(Some(0)));
    assert_eq!(hops("OPTIONS", "max-forwards: 10"), Ok(Some(10)));
    assert_eq!(hops("GET", "Max-Forwards: 0"), Ok(None));
    assert_eq!(hops("TRACE", "X: 1"), Ok(None));
    assert_eq!(hops("TRACE", "Max-Forwards: -1"), Err(Unfit::MaxForwards));
    assert_eq!(
        hops("TRACE", "Max-Forwards: 1\r\nMax-Forwards: 1"),
        Err(Unfit::MaxForwards)
    );
    let forwarded = forwarded("TRACE http://a/ HTTP/1.1", "Max-Forwards: 10\r\n");
    assert!(forwarded.contains("Max-Forwards: 9\r\n"), "{forwarded}");
}

#[test]
fn only_absolute_http_uris_have_a_target() {
    let target = |target: &str| {
        Route::of(&Bytes::copy_from_slice(target.as_bytes())).map(|route| route.target.to_string())
    };
    assert_eq!(target("http://a.example/").as_deref(), Ok("a.example:80"));
    assert_eq!(target("HTTP://a.example:81").as_deref(), Ok("a.example:81"));
    assert_eq!(target("http://a.example:?x").as_deref(), Ok("a.example:80"));
    assert_eq!(target("http://[::1]:8/").as_deref(), Ok("[::1]:8"));
    assert_eq!(
        target("http://a.example/http://b/").as_deref(),
        Ok("a.example:80")
    );
    for path in ["/path", "*", "a.example:80", "path"] {
        assert_eq!(target(path), Err(Unfit::NotAbsolute), "{path}");
    }
    assert_eq!(target("https://a.example/"), Err(Unfit::Scheme));
    assert_eq!(target("ftp://a.example/"), Err(Unfit::Scheme));
    for bad in [
        "http://user@a.example/",
        "http://a.example:0/",
        "http:///x",
        "http://",
        "http://:80/",
        "http://a\\@b/",
        "http://a,b/",
        "http://\u{e9}/",
    ] {
        assert_eq!(target(bad), Err(Unfit::Target), "{bad}");
    }
}

#[test]
fn the_origin_sees_the_path_byte_for_byte() {
    let form = |target: &[u8], method: &[u8]| {
        Route::of(&Bytes::copy_from_slice(target))
            .unwrap()
            .origin_form(method)
            .to_vec()
    };
    assert_eq!(form(b"http://a/%7e/../x?y=1#z", b"GET"), b"/%7e/../x?y=1#z");
    assert_eq!(form(b"http://a/?a={\"b\":1}", b"GET"), b"/?a={\"b\":1}");
    assert_eq!(
        form(b"http://a/\xe9\xc3\xa9<>`|^\\", b"GET"),
        b"/\xe9\xc3\xa9<>`|^\\"
    );
    assert_eq!(form(b"http://a", b"GET"), b"/");
    assert_eq!(form(b"http://a?q", b"GET"), b"/?q");
    assert_eq!(form(b"http://a", b"OPTIONS"), b"*");
    assert_eq!(form(b"http://a/", b"OPTIONS"), b"/");
    assert_eq!(form(b"http://a?q", b"OPTIONS"), b"/?q");
}

#[test]
fn a_host_is_asked_for_once() {
    let check = |version: &str, lines: &str| {
        check_host(&head(&format!("GET http://a/ HTTP/1.{version}"), lines))
    };
    assert_eq!(check("1", "Host: other\r\n"), Ok(()));
    assert_eq!(check("1", "Host:\r\n"), Ok(()));
    assert_eq!(check("1", "Host: [::1]:80\r\n"), Ok(()));
    assert_eq!(check("0", ""), Ok(()));
    assert_eq!(check("1", ""), Err(Unfit::Host));
    assert_eq!(check("2", ""), Err(Unfit::Host));
    for lines in [
        "Host: a\r\nhost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: \"a\"\r\n",
        "Host: a?b\r\n",
    ] {
        assert_eq!(check("0", lines), Err(Unfit::Host), "{lines}");
        assert_eq!(check("1", lines), Err(Unfit::Host), "{lines}");
    }
}

#[test]
fn what_has_to_be_upgraded_to_is_told() {
    let head =
        b"HTTP/1.1 426 Upgrade Required\r\nDate: d\r\nConnection: Upgrade\r\nUpgrade: x/2\r\n\r\n";
    let mut buf = BytesMut::from(&head[..]);
    let head = ResponseHead::take(&mut buf, &mut HeadEnd::default())
        .unwrap()
        .unwrap();
    let text = String::from_utf8(response(&head, Framing::Sized(0), true).to_vec()).unwrap();
    assert!(
        text.ends_with("Upgrade: x/2\r\nConnection: upgrade, close\r\n\r\n"),
        "{text}"
    );
}
