//! `-L` and `-R` of the real programs.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

use world::{Running, World, ends_with, program, target, web};

const BODY: &[u8] = b"through the forward";

fn get(at: &str) -> String {
    ask(TcpStream::connect(at).unwrap())
}

fn ask(mut stream: impl std::io::Read + std::io::Write) -> String {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = vec![0; 256];
    let mut len = 0;
    while !answer[..len].ends_with(BODY) {
        let read = stream.read(&mut answer[len..]).unwrap();
        assert!(read > 0, "cut short");
        len += read;
    }
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[test]
fn a_local_port_and_a_local_socket_lead_to_a_target_of_the_server() {
    let world = World::new();
    let web = web(BODY);
    let path = world.path("near.sock");
    let by_port = format!("0:{web}");
    let by_path = format!("{}:{web}", path.display());
    let mut client = Running::start(world.client(&["-L", &by_port, "-L", &by_path]));
    let said = client.said("forwarding ");
    let (at, to) = said.split_once(" to ").unwrap();
    assert_eq!(to, web.to_string());
    assert!(get(at).starts_with("HTTP/1.1 200"));
    assert_eq!(client.said("forwarding to "), web.to_string());
    assert!(ask(UnixStream::connect(&path).unwrap()).starts_with("HTTP/1.1 200"));
    client.terminate();
    client.child.wait().unwrap();
    assert!(!path.exists());
}

/// A UDP server that sends back what it gets.
fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..len], from).unwrap();
        }
    });
    at
}

/// Has datagrams of two sizes answered at `port`, over both families.
fn exchange_at(port: u16) {
    for local in ["127.0.0.1", "::1"] {
        let socket = UdpSocket::bind((local, 0)).unwrap();
        socket.connect((local, port)).unwrap();
        for payload in [&b"question"[..], &[7; 1500]] {
            socket.send(payload).unwrap();
            let mut answer = [0; 2048];
            let len = socket.recv(&mut answer).unwrap();
            assert_eq!(&answer[..len], payload);
        }
    }
}

#[test]
fn a_local_udp_port_leads_to_a_target_of_the_server_and_can_be_removed() {
    let world = World::new();
    let echo = udp_echo();
    let control = world.path("control").display().to_string();
    let typed = format!("0:{echo}/udp");
    let mut client = Running::start(world.client(&["-L", &typed, "--control", &control]));
    let said = client.said("forwarding ");
    let (at, to) = said.split_once(" to ").unwrap();
    assert_eq!(to, format!("{echo}/udp"));
    let at: SocketAddr = at.parse().unwrap();
    exchange_at(at.port());
    // Streams may come to the same port; what is removed is what was named.
    let (well, said) = forward(&world, &control, &["remove", "-L", "0"]);
    assert!(
        !well && said.contains("no forward -L listens at 0"),
        "{said}"
    );
    let (well, said) = forward(&world, &control, &["remove", "-L", "0/udp"]);
    assert!(well, "{said}");
    while UdpSocket::bind(at).is_err() {
        thread::yield_now();
    }
    // The server permits nobody to listen.
    let (_, said) = forward(&world, &control, &["add", "-R", &typed]);
    assert!(said.contains("permitlisten"), "{said}");
}

#[test]
fn a_udp_port_of_the_server_leads_to_a_target_here() {
    let world = World::serving(&["--permit-listen", "*"]);
    let echo = udp_echo();
    let control = world.path("control").display().to_string();
    let typed = format!("0:{echo}/udp");
    let mut client = Running::start(world.client(&["-R", &typed, "--control", &control]));
    let said = client.said("the server forwards ");
    let (at, to) = said.split_once(" to ").unwrap();
    assert_eq!(to, format!("{echo}/udp"));
    let at: SocketAddr = at.parse().unwrap();
    exchange_at(at.port());
    let (well, said) = forward(&world, &control, &["list"]);
    assert!(well && said.contains(&format!("-R 0:{echo}/udp")), "{said}");
    let (well, said) = forward(&world, &control, &["remove", "-R", "0/udp"]);
    assert!(well, "{said}");
    while UdpSocket::bind(at).is_err() {
        thread::yield_now();
    }
}

#[test]
fn a_unix_socket_of_the_server_is_a_target_where_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("far.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for unix in listener.incoming() {
            unix.unwrap().write_all(BODY).unwrap();
        }
    });
    let world = World::serving(&["--allow", &format!("unix:{}", path.display())]);
    let forward = format!("0:{}", path.display());
    let mut client = Running::start(world.client(&["-L", &forward]));
    let said = client.said("forwarding ");
    let (at, _) = said.split_once(" to ").unwrap();
    let mut got = Vec::new();
    TcpStream::connect(at)
        .unwrap()
        .read_to_end(&mut got)
        .unwrap();
    assert_eq!(got, BODY);
}

#[test]
fn a_port_of_the_server_leads_back_and_is_there_again_after_the_server_was_killed() {
    let args = ["--permit-listen", "*"];
    let mut world = World::serving(&args);
    let web = web(BODY);
    // A port of the server's that nobody else is given meanwhile.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut client = Running::start(world.client(&["-R", &format!("{port}:{web}")]));
    let said = client.said("the server forwards ");
    assert_eq!(said, format!("127.0.0.1:{port} to {web}"));
    assert!(get(&format!("127.0.0.1:{port}")).starts_with("HTTP/1.1 200"));
    world.server.kill();
    world.start_server_with(&args);
    assert_eq!(client.said("the server forwards "), said);
    assert!(get(&format!("127.0.0.1:{port}")).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_that_permits_no_listening_is_said_to_and_the_rest_works() {
    let world = World::new();
    let web = web(BODY);
    let mut command = world.client(&["-R", &format!("0:{web}"), "-L", &format!("0:{web}")]);
    command.env("NO_COLOR", "1");
    let mut client = Running::start(command);
    let said = client.said("forwarding ");
    assert!(get(said.split_once(" to ").unwrap().0).starts_with("HTTP/1.1 200"));
    let mut errors = client.child.stderr.take().unwrap();
    let mut text = String::new();
    while !text.contains("permitlisten in authorized_keys") {
        let mut piece = [0; 1024];
        let read = errors.read(&mut piece).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

#[test]
fn a_taken_port_ends_the_program_and_names_the_forward() {
    let world = World::new();
    let taken = target(drop);
    let forward = format!("{}:a.example:80", taken.port());
    let text = ends_with(world.client(&["-L", &forward]), 1);
    assert!(
        text.contains(&format!("-L {forward}")) && text.contains("in use"),
        "{text}"
    );
}

/// `rpclient forward WORDS` to the program at `control`: whether it went well, and what it said.
fn forward(world: &World, control: &str, words: &[&str]) -> (bool, String) {
    let mut command = program("rpclient", &world.folder);
    command
        .arg("forward")
        .args(words)
        .args(["--control", control]);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn forwards_come_and_go_while_the_program_runs() {
    let world = World::serving(&["--allow", "127.0.0.0/8", "--permit-listen", "*"]);
    let web = web(BODY);
    let control = world.path("control").display().to_string();
    let mut client = Running::start(world.client(&["--control", &control]));
    client.said("listening on ");
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (near, far) = (free(), free());
    let (local, remote) = (format!("{near}:{web}"), format!("{far}:{web}"));
    let (well, said) = forward(&world, &control, &["add", "-L", &local, "-R", &remote]);
    assert!(well, "{said}");
    let listed = format!(
        "-L {local}  listening on 127.0.0.1:{near}\n-R {remote}  listening on 127.0.0.1:{far}\n"
    );
    assert_eq!(said, listed);
    assert_eq!(forward(&world, &control, &["list"]), (true, listed));
    for port in [near, far] {
        assert!(get(&format!("127.0.0.1:{port}")).starts_with("HTTP/1.1 200"));
    }
    let (well, said) = forward(&world, &control, &["add", "-L", &local]);
    assert!(!well && said.contains("in use"), "{said}");

    let (well, said) = forward(
        &world,
        &control,
        &["remove", "-L", &near.to_string(), "-R", &remote],
    );
    assert!(well, "{said}");
    while TcpStream::connect(("127.0.0.1", near)).is_ok() {}
    // The server learns of it a moment later.
    while TcpStream::connect(("127.0.0.1", far)).is_ok() {}
    assert_eq!(forward(&world, &control, &["list"]), (true, String::new()));
    let (well, said) = forward(&world, &control, &["remove", "-L", &local]);
    assert!(!well && said.contains("no forward -L listens at"), "{said}");
    let (well, said) = forward(&world, &control, &["add"]);
    assert!(!well && said.contains("name a forward"), "{said}");
}
