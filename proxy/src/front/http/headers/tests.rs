//! Header fields that end here and those that go on.

use super::*;

fn request(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method("POST").uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn forwarded(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut request = request("http://a.example/x?y=1", fields);
    let target = target_of(request.uri()).unwrap();
    rewrite(&mut request, &target);
    request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_request_line_names_the_target_whatever_host_says() {
    let fields = forwarded(&[("host", "evil.example"), ("accept", "*/*")]);
    assert!(fields.contains(&pair("host", "a.example")));
    assert!(fields.contains(&pair("accept", "*/*")));
    assert_eq!(fields.len(), 2);
}

#[test]
fn hop_by_hop_and_proxy_fields_end_here() {
    let fields = forwarded(&[
        ("connection", "keep-alive, X-Secret"),
        ("connection", "close, Content-Length, Host"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic YTpi"),
        ("proxy-anything", "1"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("content-length", "0"),
        ("trailer", "x-sum"),
    ]);
    let expected = [
        pair("content-length", "0"),
        pair("host", "a.example"),
        pair("trailer", "x-sum"),
    ];
    let mut fields = fields;
    fields.sort();
    assert_eq!(fields, expected);
}

#[test]
fn an_upgrade_goes_on() {
    let fields = forwarded(&[
        ("connection", "Upgrade, x-hop"),
        ("upgrade", "websocket"),
        ("x-hop", "1"),
    ]);
    assert!(fields.contains(&pair("connection", "upgrade")));
    assert!(fields.contains(&pair("upgrade", "websocket")));
    assert!(!fields.iter().any(|(name, _)| name == "x-hop"));
}

#[test]
fn trailers_may_be_asked_for() {
    assert!(forwarded(&[("te", "deflate, trailers")]).contains(&pair("te", "trailers")));
}

#[test]
fn length_beside_chunked_is_dropped() {
    let fields = forwarded(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
    assert_eq!(fields, [pair("host", "a.example")]);
}

#[test]
fn only_absolute_http_uris_have_a_target() {
    let target = |uri: &str| target_of(&uri.parse().unwrap()).map(|t| t.to_string());
    assert_eq!(target("http://a.example/").as_deref(), Ok("a.example:80"));
    assert_eq!(target("HTTP://a.example:81").as_deref(), Ok("a.example:81"));
    assert_eq!(target("http://[::1]:8/").as_deref(), Ok("[::1]:8"));
    assert_eq!(target("/path"), Err(Unfit::NotAbsolute));
    assert_eq!(target("https://a.example/"), Err(Unfit::Scheme));
    assert_eq!(target("ftp://a.example/"), Err(Unfit::Scheme));
    assert_eq!(target("http://user@a.example/"), Err(Unfit::Target));
    assert_eq!(target("http://a.example:0/"), Err(Unfit::Target));
}

#[test]
fn the_origin_sees_a_path() {
    let form = |uri: &str, method: Method| origin_form(&uri.parse().unwrap(), &method).to_string();
    assert_eq!(form("http://a.example/x?y=1", Method::GET), "/x?y=1");
    assert_eq!(form("http://a.example", Method::GET), "/");
    assert_eq!(form("http://a.example?q", Method::GET), "/?q");
    assert_eq!(form("http://a.example/", Method::OPTIONS), "/");
}
