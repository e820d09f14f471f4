//! Who is answered, and with what.

use std::{fs, os::unix::fs::PermissionsExt as _};

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::status::{ConnectionStatus, NamedUsage, Process, Status, Usage};

const TOKEN: &str = "a-token-of-some-length";

/// A program that is always in this state.
#[derive(Clone)]
struct Fixed(&'static str);

impl Numbers for Fixed {
    fn status(&self) -> Status {
        let usage = Usage {
            connected: 7,
            down_bytes: 100,
            ..Usage::default()
        };
        Status {
            process: Process {
                program: "rpserver".into(),
                version: "1.0".into(),
                ..Process::default()
            },
            state: self.0.into(),
            total: usage,
            targets: vec![NamedUsage {
                name: "quoted\"name\n:80".into(),
                usage,
            }],
            connections: vec![ConnectionStatus {
                remote: "192.0.2.1:7377".into(),
                rtt_ms: 100.0,
                ..ConnectionStatus::default()
            }],
            ..Status::default()
        }
    }
}

fn token(folder: &Path) -> Token {
    let path = folder.join("token");
    fs::write(&path, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Token::read(&path).unwrap()
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn code(path: &str, headers: &[(&'static str, &str)], token: Option<&Token>) -> u16 {
    answer(&request(path, headers), &Fixed("serving"), token)
        .status()
        .as_u16()
}

async fn body(response: Response<Full<Bytes>>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_name_that_was_made_to_lead_here_is_refused() {
    for host in [
        "127.0.0.1:7378",
        "localhost",
        "LocalHost.:80",
        "[::1]:7378",
        "192.0.2.1",
    ] {
        assert_eq!(code("/status.json", &[("host", host)], None), 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:7378",
        "localhost.evil.example",
        "1.2.3.4.evil.example",
        "",
    ] {
        for path in ["/", "/status.json", "/metrics"] {
            assert_eq!(code(path, &[("host", host)], None), 421, "{host}");
        }
    }
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(code("/", &twice, None), 421);
}

#[test]
fn with_a_token_it_is_needed_and_enough() {
    let folder = tempfile::tempdir().unwrap();
    let token = token(folder.path());
    let code = |said: Option<&str>| {
        let mut headers = vec![("host", "status.example")];
        headers.extend(said.map(|said| ("authorization", said)));
        code("/status.json", &headers, Some(&token))
    };
    assert_eq!(code(None), 401);
    assert_eq!(code(Some(&format!("Bearer {TOKEN}"))), 200);
    assert_eq!(code(Some(&format!("bearer  {TOKEN}"))), 200);
    assert_eq!(code(Some("Bearer another-token-of-length")), 401);
    assert_eq!(code(Some("Bearer")), 401);
    // anyone:TOKEN, and the token as the user
    assert_eq!(
        code(Some("Basic YW55b25lOmEtdG9rZW4tb2Ytc29tZS1sZW5ndGg=")),
        200
    );
    assert_eq!(code(Some("Basic YS10b2tlbi1vZi1zb21lLWxlbmd0aDo=")), 401);
    assert_eq!(code(Some("Basic !")), 401);
}

#[test]
fn a_token_that_others_can_read_or_guess_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    token(folder.path());
    let path = folder.path().join("token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(
        Token::read(&path)
            .unwrap_err()
            .to_string()
            .contains("chmod 600")
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "short", "two words of some length"] {
        fs::write(&path, text).unwrap();
        assert!(Token::read(&path).is_err(), "{text}");
    }
}

#[test]
fn nothing_can_be_changed_and_what_is_not_there_is_not_found() {
    let host = [("host", "localhost")];
    assert_eq!(code("/nothing", &host, None), 404);
    let mut post = request("/", &host);
    *post.method_mut() = Method::POST;
    assert_eq!(answer(&post, &Fixed("serving"), None).status(), 405);
}

#[tokio::test]
async fn health_is_told_to_everybody_and_nothing_else_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let token = token(folder.path());
    for (state, code) in [
        ("serving", 200),
        ("up", 200),
        ("draining", 503),
        ("connecting", 503),
    ] {
        let response = answer(&request("/healthz", &[]), &Fixed(state), Some(&token));
        assert_eq!(response.status(), code, "{state}");
        assert_eq!(body(response).await, format!("{state}\n"));
    }
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let response = answer(&request("/metrics", &[]), &Fixed("serving"), None);
    assert_eq!(response.headers()["content-type"], metrics::CONTENT_TYPE);
    let text = body(response).await;
    for line in [
        "# TYPE rapidpath_connected counter",
        "rapidpath_connected_total 7",
        "rapidpath_down_bytes_total 100",
        "rapidpath_up 1.0",
        "rapidpath_build{program=\"rpserver\",version=\"1.0\"} 1.0",
        "rapidpath_target_connected_total{target=\"quoted\\\"name\\n:80\"} 7",
        "rapidpath_path_rtt_seconds{remote=\"192.0.2.1:7377\",key=\"\"} 0.1",
    ] {
        assert!(text.lines().any(|is| is == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn the_page_asks_nobody_else() {
    let response = answer(&request("/", &[]), &Fixed("serving"), None);
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = body(response).await;
    let addresses = page.matches("http").count();
    // The name of SVG, which nobody asks for.
    assert_eq!(
        addresses,
        page.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!page.contains("//cdn"), "{page}");
}

#[tokio::test]
async fn others_reach_it_only_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    for open in ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:80"] {
        let refused = AdminSettings::new(open, None).unwrap_err();
        assert!(refused.text.contains("--admin-token-file"), "{refused}");
    }
    // As a name may turn out to be.
    let mut settings = AdminSettings {
        listen: "0.0.0.0:0".parse().unwrap(),
        token: None,
    };
    let refused = Admin::open(Some(&settings)).await.unwrap_err();
    assert!(refused.text.contains("--admin-token-file"), "{refused}");
    settings.token = Some(token(folder.path()));
    assert!(Admin::open(Some(&settings)).await.unwrap().is_some());
    let own = AdminSettings::new("127.0.0.1:0", None).unwrap();
    let admin = Admin::open(Some(&own)).await.unwrap().unwrap();
    assert!(admin.local().ip().is_loopback());
    assert!(Admin::open(None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_host_that_opens_all_the_connections_it_can_leaves_some() {
    let settings = AdminSettings::new("127.0.0.1:0", None).unwrap();
    let admin = Admin::open(Some(&settings)).await.unwrap();
    let local = admin.as_ref().unwrap().local();
    tokio::spawn(serve(admin, Fixed("serving")));
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS - MAX_CONNECTIONS / 8 {
        let mut tcp = TcpStream::connect(local).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        tcp.write_all(request).await.unwrap();
        // Once it is answered it has its place.
        assert!(tcp.read(&mut [0; 1024]).await.unwrap() > 0);
        held.push(tcp);
    }
    let mut beyond = TcpStream::connect(local).await.unwrap();
    let end = beyond.read(&mut [0; 1024]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}
