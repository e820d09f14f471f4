//! The real programs with little memory, and readers that stop.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use world::{Running, World, socks5, target, web};

const MIB: u64 = 1 << 20;

/// Bytes of a program in RAM.
fn memory(program: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn readers_that_stop_take_no_more_memory_than_was_allowed_and_others_are_served() {
    let world = World::serving(&["--allow", "127.0.0.0/8", "--memory", "16M"]);
    let mut client = Running::start(world.client(&["--memory", "16M"]));
    let proxy = client.said("listening on ");
    let (blocked, sent) = mpsc::channel();
    // Sends as long as it gets rid of anything within a while, and says so when it does no longer.
    let endless = target(move |mut tcp| {
        let blocked = blocked.clone();
        thread::spawn(move || {
            tcp.set_write_timeout(Some(std::time::Duration::from_secs(2)))
                .unwrap();
            while tcp.write_all(&[b'x'; 65536]).is_ok() {}
            blocked.send(tcp).unwrap();
        });
    });
    let web = web(b"honest");
    let fetch = || {
        let mut tcp = TcpStream::connect(&proxy).unwrap();
        let request =
            format!("GET http://{web}/ HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(fetch().ends_with("honest"));
    let both = || [memory(&client), memory(&world.server)];
    let before = both();
    let unread: Vec<TcpStream> = (0..24).map(|_| socks5(&proxy, endless)).collect();
    let stuck: Vec<TcpStream> = unread.iter().map(|_| sent.recv().unwrap()).collect();
    for (now, before) in both().into_iter().zip(before) {
        let more = now.saturating_sub(before);
        // What was allowed, 6 MiB of receive buffers, 64 KiB that each relay may have read and not got rid of, and
        // what lies between all of them. Without a bound it is more than 150 MiB.
        assert!(more < 40 * MIB, "{more} bytes more");
    }
    assert!(fetch().ends_with("honest"));
    drop((unread, stuck));
}
