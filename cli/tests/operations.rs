//! What an operator asks of the real programs: pages, numbers, health, a check of settings, a diagnosis.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use world::{Running, World, ends_with, program, socks5, web};

/// The answer to a GET of `path` from the page at `address`, asked for as `host`.
fn get(address: &str, path: &str, host: &str, more: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

fn address(page: &str) -> String {
    page.trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned()
}

#[test]
fn the_status_page_of_both_programs_shows_what_went_through() {
    let web = web(b"page");
    let mut world = World::serving(&["--allow", "127.0.0.0/8", "--admin", "127.0.0.1:0"]);
    let far = address(&world.server.said("status page on "));
    let mut client = Running::start(world.client(&["--admin", "127.0.0.1:0"]));
    let proxy = client.said("listening on ");
    let near = address(&client.said("status page on "));
    let mut tcp = socks5(&proxy, web);
    tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    tcp.read_exact(&mut [0; 10]).unwrap();
    for page in [&near, &far] {
        assert!(get(page, "/", page, "").contains("<title>Rapidpath</title>"));
        let json = get(page, "/status.json", page, "");
        assert!(json.contains("\"up-bytes\":18"), "{json}");
        // The client has asked whether it is let in, which is no request that failed.
        assert!(!json.contains("\"failed\":1"), "{json}");
        let metrics = get(page, "/metrics", page, "");
        assert!(
            metrics.contains("rapidpath_up_bytes_total 18\n"),
            "{metrics}"
        );
        assert!(metrics.contains("rapidpath_path_rtt_seconds{"), "{metrics}");
        assert!(get(page, "/healthz", page, "").starts_with("HTTP/1.1 200 "));
        assert!(get(page, "/status.json", "evil.example", "").starts_with("HTTP/1.1 421 "));
    }
    assert!(
        get(&far, "/metrics", &far, "").contains("rapidpath_key_connected_total{key=\"SHA256:")
    );
    let (_, port) = far.split_once(':').unwrap();
    let text = ends_with(world.client(&["connect", "127.0.0.1", port]), 1);
    assert!(text.contains("own listener"), "{text}");
}

#[test]
fn a_page_that_others_can_reach_needs_a_token() {
    let mut world = World::new();
    world.server.kill();
    let mut command = program("rpserver", &world.folder);
    command.args(["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]);
    assert!(ends_with(command, 2).contains("--admin-token-file"));
    let token = world.path("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let mut server = World::serving(&[
        "--admin",
        "0.0.0.0:0",
        "--admin-token-file",
        token.to_str().unwrap(),
    ]);
    let page = address(&server.server.said("status page on ")).replace("0.0.0.0", "127.0.0.1");
    assert!(get(&page, "/", &page, "").starts_with("HTTP/1.1 401 "));
    let with = "Authorization: Bearer 0123456789abcdef\r\n";
    assert!(get(&page, "/", "status.example", with).starts_with("HTTP/1.1 200 "));
    assert!(get(&page, "/healthz", &page, "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_mistake_in_the_settings_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    for (program_name, text, told) in [
        (
            "rpserver",
            "\nalow = ['10.0.0.0/8']\n",
            "line 2: unknown key `alow`; did you mean `allow`?",
        ),
        (
            "rpserver",
            "allow = ['10.0.0.0/99']\n",
            "line 1: --allow 10.0.0.0/99: not a rule",
        ),
        (
            "rpserver",
            "rate = 5\n",
            "line 1: rate: invalid type: integer `5`",
        ),
        (
            "rpserver",
            "listen = ':1'\nadmin = '0.0.0.0'\nadmin-token-file = '/nonexistent/t'\n",
            "line",
        ),
        (
            "rpclient",
            "server = 'h'\nlog-level = 'loud'\n",
            "line 2: --log-level loud: it is one of",
        ),
        ("rpclient", "sever = 'h'\n", "did you mean `server`?"),
    ] {
        fs::write(&file, text).unwrap();
        for check in [true, false] {
            let mut command = program(program_name, &folder);
            command.arg("--config").arg(&file);
            if check {
                command.arg("--check");
            }
            let said = ends_with(command, 2);
            assert!(said.contains("c.toml line"), "{text}: {said}");
            assert!(said.contains(told), "{text}: {said}");
        }
    }
}

#[test]
fn the_doctor_reaches_the_server_and_gives_one_verdict() {
    let world = World::new();
    let mut command = world.client(&["doctor"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for what in [
        "socket buffers",
        "GSO",
        "descriptors",
        "clock",
        "MTU",
        "answers over UDP",
        "path MTU",
    ] {
        assert!(text.contains(what), "{what} in {text}");
    }
    assert!(
        text.lines().last().unwrap().starts_with("verdict: "),
        "{text}"
    );
}

#[test]
fn the_doctor_names_a_server_that_is_silent() {
    let world = World::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut command = program("rpclient", &world.folder);
    command.args([
        "doctor",
        "--server",
        &address,
        "--host-key",
        &world.fingerprint,
    ]);
    command.arg("-i").arg(world.path("id"));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("blocks UDP"), "{text}");
    assert!(
        text.ends_with("verdict: something does not work: server\n"),
        "{text}"
    );
}

#[test]
fn the_shipped_settings_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for (name, more) in [("rpserver", &[][..]), ("rpclient", &["--server", "host"])] {
        let mut command = program(name, &folder);
        command.args(more).arg("--check").arg("--config");
        command.arg(shipped.join(format!("{name}.toml")));
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
}

/// The socket of a service manager, which hears what a program tells it.
struct Manager(UnixDatagram);

impl Manager {
    /// The manager that `command` is to tell, and which wants to hear every tenth of a second that it lives.
    fn of(command: &mut Command, world: &World) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        command
            .env("NOTIFY_SOCKET", path)
            .env("WATCHDOG_USEC", "200000");
        Self(socket)
    }

    /// The next message that has `words` on one of its lines.
    fn told(&self, words: &str) -> String {
        let mut message = [0; 1024];
        loop {
            let len = self.0.recv(&mut message).unwrap();
            let text = str::from_utf8(&message[..len]).unwrap();
            if text.lines().any(|line| line.starts_with(words)) {
                return text.to_owned();
            }
        }
    }

    /// Checks that it is told of one reload, whose outcome is `outcome`.
    fn hears_of_reload(&self, program: &Running, outcome: &str) {
        let before = monotonic_us();
        program.signal("-HUP");
        let reloading = self.told("RELOADING=1");
        let at = reloading
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
            .unwrap();
        assert!((before..=monotonic_us()).contains(&at.parse().unwrap()));
        let ready = self.told("READY=1");
        assert!(ready.contains(&format!("STATUS={outcome}")), "{ready}");
    }
}

fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[test]
fn the_service_manager_is_told_when_the_server_is_ready_alive_reloading_and_ending() {
    let mut world = World::new();
    world.server.kill();
    let config = world.path("server.toml");
    fs::write(&config, "").unwrap();
    let mut command = program("rpserver", &world.folder);
    command.args(["--listen", "127.0.0.1:0", "--config"]);
    command
        .arg(&config)
        .arg("--key")
        .arg(world.path("host_key"));
    command
        .arg("--authorized-keys")
        .arg(world.path("authorized_keys"));
    let manager = Manager::of(&mut command, &world);
    let mut server = Running::start(command);
    let address = server.said("listening on ");
    let ready = manager.told("READY=1");
    assert!(
        ready.contains(&format!("STATUS=listening on {address}")),
        "{ready}"
    );
    manager.told("WATCHDOG=1");
    manager.told("WATCHDOG=1");
    fs::write(&config, "deny = ['10.0.0.0/8']\n").unwrap();
    manager.hears_of_reload(&server, "settings read again");
    fs::write(&config, "deni = ['10.0.0.0/8']\n").unwrap();
    manager.hears_of_reload(&server, "settings stay as they are: ");
    server.terminate();
    manager.told("STOPPING=1");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn the_service_manager_is_told_that_the_client_ends_while_streams_still_do() {
    let world = World::new();
    let mut command = world.client(&["--drain", "60"]);
    let manager = Manager::of(&mut command, &world);
    let mut client = Running::start(command);
    let proxy = client.said("listening on ");
    manager.told("READY=1");
    manager.told("WATCHDOG=1");
    manager.hears_of_reload(&client, "settings read again");
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = socks5(&proxy, target.local_addr().unwrap());
    let (mut far, _) = target.accept().unwrap();
    client.terminate();
    manager.told("STOPPING=1");
    // It lives on, and its stream with it.
    manager.told("WATCHDOG=1");
    far.write_all(b"last words").unwrap();
    drop(far);
    let mut near = near;
    let mut words = String::new();
    near.read_to_string(&mut words).unwrap();
    assert_eq!(words, "last words");
    drop(near);
    assert!(client.child.wait().unwrap().success());
}
