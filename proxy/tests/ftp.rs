//! `ftp` URLs through the HTTP front end, against a small FTP server.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod support;

use std::{io::ErrorKind, net::SocketAddr};

use support::{
    World, http,
    http::{ask, read_to_failure, whole},
    local, origin, reset_on_drop, soon, world,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// The one file, and the folder it is in.
const FILE: &[u8] = b"0123456789";
const LISTING: &str =
    "-rw-r--r-- 1 ftp ftp 10 Jan 31 12:34 a file\r\ndrwxr-xr-x 2 ftp ftp 4096 Jan 31 2025 dir\r\n";

/// What is odd about a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Oddity {
    #[default]
    None,
    /// It knows no EPSV, and names an address of its own network for PASV.
    BehindNat,
    /// EPSV names a port where nobody listens.
    WrongPort,
    /// It cannot begin in the middle.
    NoRestart,
    /// It knows no SIZE.
    NoSize,
    /// It says a greater size than the file has.
    TooShort,
    /// It ends the data connection with a reset half-way.
    Cut,
    /// It ends the data connection in order half-way, and says so.
    Aborted,
    /// It is something else.
    NotFtp,
}

/// A server with `oddity`, and the commands it gets.
async fn ftp(oddity: Oddity) -> (SocketAddr, UnboundedReceiver<String>) {
    let (sender, commands) = unbounded_channel();
    let addr = origin(move |tcp| serve(tcp, oddity, sender.clone())).await;
    (addr, commands)
}

async fn serve(tcp: TcpStream, oddity: Oddity, commands: UnboundedSender<String>) {
    let mut tcp = BufReader::new(tcp);
    let greeting = match oddity {
        Oddity::NotFtp => "SSH-2.0-OpenSSH\r\n",
        _ => "220-Welcome to\r\n 220 nothing\r\n220 ready\r\n",
    };
    tcp.write_all(greeting.as_bytes()).await.unwrap();
    let mut session = Session::default();
    let mut line = String::new();
    while matches!(tcp.read_line(&mut line).await, Ok(1..)) {
        let command = line.trim_end().to_owned();
        line.clear();
        let _ = commands.send(command.clone());
        for reply in session.handle(&command, oddity).await {
            if tcp
                .write_all(format!("{reply}\r\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

#[derive(Default)]
struct Session {
    user: String,
    is_in: bool,
    first: usize,
    data: Option<TcpListener>,
}

impl Session {
    async fn handle(&mut self, command: &str, oddity: Oddity) -> Vec<String> {
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        let one = |reply: &str| vec![reply.to_owned()];
        match (verb, argument) {
            ("USER", user) => {
                self.user = user.to_owned();
                one("331 password")
            }
            ("PASS", password) => {
                self.is_in =
                    self.user == "anonymous" || (&*self.user, password) == ("al:ice", "sesame");
                one(if self.is_in { "230 in" } else { "530 not in" })
            }
            _ if !self.is_in => one("530 not in"),
            ("TYPE", _) => one("200 type"),
            ("SIZE", _) if oddity == Oddity::NoSize => one("502 what?"),
            ("SIZE", "a file") if oddity == Oddity::TooShort => one("213 11"),
            ("SIZE", "a file") => one("213 10"),
            ("SIZE", _) => one("550 no file"),
            ("MDTM", "a file") => one("213 20240229123456"),
            ("CWD", "dir" | "/") => one("250 there"),
            ("CWD" | "MDTM", _) => one("550 no such"),
            ("EPSV", _) if oddity == Oddity::BehindNat => one("500 what?"),
            ("EPSV", _) if oddity == Oddity::WrongPort => one(&format!(
                "229 here (|||{}|)",
                support::nobody().await.port()
            )),
            ("EPSV" | "PASV", _) => one(&self.listen(verb).await),
            ("REST", _) if oddity == Oddity::NoRestart => one("502 what?"),
            ("REST", first) => {
                self.first = first.parse().unwrap();
                one("350 from there")
            }
            ("RETR", "a file") => self.send(&FILE[self.first..], oddity).await,
            ("LIST", _) => self.send(LISTING.as_bytes(), oddity).await,
            ("RETR", _) => one("550 no such file"),
            ("QUIT", _) => one("221 bye"),
            _ => one("500 what?"),
        }
    }

    async fn listen(&mut self, verb: &str) -> String {
        let listener = TcpListener::bind(local()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        self.data = Some(listener);
        match verb {
            "EPSV" => format!("229 here (|||{port}|)"),
            _ => format!("227 here (10,1,2,3,{},{})", port >> 8, port & 0xff),
        }
    }

    async fn send(&mut self, data: &[u8], oddity: Oddity) -> Vec<String> {
        let (mut tcp, _) = self.data.take().unwrap().accept().await.unwrap();
        let half = &data[..data.len() / 2];
        let (data, end) = match oddity {
            Oddity::Cut | Oddity::Aborted => (half, "426 aborted"),
            _ => (data, "226 done"),
        };
        let _ = tcp.write_all(data).await;
        if oddity == Oddity::Cut {
            reset_on_drop(&tcp);
        }
        vec!["150 here it comes".to_owned(), end.to_owned()]
    }
}

/// The answer to a GET of `path`, with `lines` in its head.
async fn get(world: &World, server: SocketAddr, path: &str, lines: &str) -> String {
    let request = format!("GET ftp://{server}/{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    whole(world, request.as_bytes()).await
}

/// The status and the body of `answer`.
fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body)
}

#[tokio::test]
async fn a_file_comes_with_its_size_and_date() {
    let world = world().await;
    let (server, mut commands) = ftp(Oddity::None).await;
    let answer = get(&world, server, "a%20file", "").await;
    assert_eq!(parts(&answer), (200, "0123456789"));
    for field in [
        "Content-Length: 10",
        "Last-Modified: Thu, 29 Feb 2024 12:34:56 GMT",
        "Accept-Ranges: bytes",
    ] {
        assert!(answer.contains(&format!("\r\n{field}\r\n")), "{answer}");
    }
    assert_eq!(commands.recv().await.unwrap(), "USER anonymous");
}

#[tokio::test]
async fn the_clients_connection_takes_another_request() {
    let world = world().await;
    let (server, _commands) = ftp(Oddity::None).await;
    let request = format!("GET ftp://{server}/a%20file HTTP/1.1\r\nHost: x\r\n\r\n");
    let answers = whole(&world, request.repeat(2).as_bytes()).await;
    assert_eq!(answers.matches("0123456789").count(), 2, "{answers}");
}

#[tokio::test]
async fn odd_servers_are_borne() {
    //= spec/10-proxy.md#http
    //= type=test
    //# A private address that an FTP server names for its data MUST NOT be dialled; the control
    //# connection's host is.
    let world = world().await;
    for oddity in [Oddity::BehindNat, Oddity::WrongPort, Oddity::NoSize] {
        let (server, _commands) = ftp(oddity).await;
        let answer = get(&world, server, "a%20file", "").await;
        let (status, body) = parts(&answer);
        let body = match oddity {
            // Its end is that of the chunks.
            Oddity::NoSize => body.replace("a\r\n", "").replace("\r\n0\r\n\r\n", ""),
            _ => body.to_owned(),
        };
        assert_eq!(
            (status, body.as_str()),
            (200, "0123456789"),
            "{oddity:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_part_is_fetched_and_one_that_is_not_there_refused() {
    let world = world().await;
    let (server, _commands) = ftp(Oddity::None).await;
    for (range, body) in [
        ("bytes=3-", "3456789"),
        ("bytes=3-5", "345"),
        ("bytes=-2", "89"),
    ] {
        let answer = get(&world, server, "a%20file", &format!("Range: {range}\r\n")).await;
        assert_eq!(parts(&answer), (206, body), "{range}");
        assert!(answer.contains("\r\nContent-Range: bytes "), "{answer}");
    }
    let answer = get(&world, server, "a%20file", "Range: bytes=10-\r\n").await;
    assert!(
        answer.contains("\r\nContent-Range: bytes */10\r\n"),
        "{answer}"
    );
    assert_eq!(parts(&answer).0, 416);
    let (server, _commands) = ftp(Oddity::NoRestart).await;
    let answer = get(&world, server, "a%20file", "Range: bytes=3-\r\n").await;
    assert_eq!(parts(&answer), (200, "0123456789"));
}

#[tokio::test]
async fn nothing_half_delivered_looks_whole() {
    //= spec/10-proxy.md#http
    //= type=test
    //# The end of an FTP transfer MUST NOT look like one before the server has said that all was sent, but
    //# for the end of a part that was asked for.
    let world = world().await;
    for oddity in [Oddity::Cut, Oddity::Aborted, Oddity::TooShort] {
        for path in ["a%20file", "dir/", "a%20file;type=a"] {
            if oddity == Oddity::TooShort && path != "a%20file" {
                continue;
            }
            let (server, _commands) = ftp(oddity).await;
            let request = format!("GET ftp://{server}/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut tcp = ask(world.proxy, &request).await;
            let (got, end) = read_to_failure(&mut tcp).await;
            let text = String::from_utf8_lossy(&got);
            assert_eq!(end, ErrorKind::ConnectionReset, "{oddity:?} {path}: {text}");
            assert!(!text.ends_with("0\r\n\r\n"), "{oddity:?} {path}: {text}");
            // To a client of HTTP/1.0 the end of the connection is that of the body.
            let (server, _commands) = ftp(oddity).await;
            let request = format!("GET ftp://{server}/{path} HTTP/1.0\r\n\r\n");
            let mut tcp = ask(world.proxy, &request).await;
            let (_, end) = read_to_failure(&mut tcp).await;
            assert_eq!(end, ErrorKind::ConnectionReset, "{oddity:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_folder_is_a_page_of_links() {
    let world = world().await;
    let (server, _commands) = ftp(Oddity::None).await;
    for path in ["", "dir/", "dir", "dir;type=d"] {
        let answer = get(&world, server, path, "").await;
        assert_eq!(parts(&answer).0, 200, "{path}: {answer}");
        let base = if path.is_empty() { "/" } else { "/dir/" };
        for text in [
            "\r\nContent-Type: text/html; charset=utf-8\r\n",
            &format!("<a href=\"{base}a%20file\">a file</a>"),
            &format!("<a href=\"{base}dir/\">dir/</a>"),
            "</html>\n",
        ] {
            assert!(answer.contains(text), "{path}: {text}\n{answer}");
        }
    }
}

#[tokio::test]
async fn head_tells_of_a_file_without_fetching_it() {
    let world = world().await;
    let (server, mut commands) = ftp(Oddity::None).await;
    let request = format!("HEAD ftp://{server}/a%20file HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = whole(&world, request.as_bytes()).await;
    assert_eq!(parts(&answer), (200, ""));
    assert!(answer.contains("\r\nContent-Length: 10\r\n"), "{answer}");
    while let Ok(command) = commands.try_recv() {
        assert!(
            !command.starts_with("RETR") && command != "EPSV",
            "{command}"
        );
    }
}

#[tokio::test]
async fn who_asks_is_in_the_url_or_in_the_way_of_http() {
    let world = world().await;
    let (server, _commands) = ftp(Oddity::None).await;
    let as_user =
        |user: &str| format!("GET ftp://{user}@{server}/a%20file HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = whole(&world, as_user("al%3Aice:sesame").as_bytes()).await;
    assert_eq!(parts(&answer), (200, "0123456789"));
    let answer = whole(&world, as_user("al%3Aice:wrong").as_bytes()).await;
    assert_eq!(parts(&answer).0, 403);
    // "eve:wrong"
    let answer = get(
        &world,
        server,
        "a%20file",
        "Authorization: Basic ZXZlOndyb25n\r\n",
    )
    .await;
    assert_eq!(parts(&answer).0, 401);
    assert!(
        answer.contains("\r\nWWW-Authenticate: Basic realm="),
        "{answer}"
    );
}

#[tokio::test]
async fn failures_have_their_status() {
    let world = world().await;
    let (server, _commands) = ftp(Oddity::None).await;
    let (other, _commands2) = ftp(Oddity::NotFtp).await;
    let nobody = support::nobody().await;
    for (url, status) in [
        (format!("ftp://{server}/none"), 404),
        (format!("ftp://{server}/none/"), 404),
        (format!("ftp://{server}/x%0d%0aDELE%20y"), 400),
        ("ftp://a b/".to_owned(), 400),
        (format!("ftp://{other}/x"), 502),
        (format!("ftp://{nobody}/x"), 502),
        ("ftp://10.1.2.3/x".to_owned(), 403),
    ] {
        let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = whole(&world, request.as_bytes()).await;
        http::is_refusal(&answer, status, &url);
    }
    let request = format!("DELETE ftp://{server}/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = whole(&world, request.as_bytes()).await;
    http::is_refusal(&answer, 405, "DELETE");
    assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn a_browser_gets_the_file_that_names_the_proxy() {
    let world = world().await;
    let mut tcp = ask(
        world.proxy,
        "GET /proxy.pac HTTP/1.1\r\nHost: proxy.lan:1080\r\n\r\n",
    )
    .await;
    let mut answer = vec![0; 2048];
    let mut len = 0;
    while !answer[..len].ends_with(b"}\n") {
        len += soon(tcp.read(&mut answer[len..])).await.unwrap();
    }
    let answer = String::from_utf8_lossy(&answer[..len]);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("application/x-ns-proxy-autoconfig"),
        "{answer}"
    );
    assert!(
        answer.contains("return \"PROXY proxy.lan:1080; SOCKS5 proxy.lan:1080\";"),
        "{answer}"
    );
}
