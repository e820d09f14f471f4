//! Streams that nobody reads: dozens of them through one client, and an honest request beside them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::ensure;

use super::{
    Row,
    client::now,
    stage::{Stage, origin},
};
use crate::programs::Programs;

/// How long the tunnels have to fill all there is.
const FILL: Duration = Duration::from_secs(6);

/// What an honest request may take.
const LIMIT_S: f64 = 1.0;

/// How long it is waited for.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let down = beside(programs, 30, false)?;
    let up = beside(programs, 24, true)?;
    Ok(vec![
        Row::below(
            "a GET beside 30 tunnels that nobody reads",
            down,
            LIMIT_S,
            "s",
        ),
        Row::below(
            "a GET beside 24 uploads that nobody reads",
            up,
            LIMIT_S,
            "s",
        ),
    ])
}

/// Seconds an honest GET takes beside `count` tunnels.
fn beside(programs: &Programs, count: usize, is_upload: bool) -> anyhow::Result<f64> {
    let mut stage = Stage::new(programs, 0)?;
    let proxy = stage.proxy()?;
    let target = origin(is_upload)?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut tunnel = TcpStream::connect(proxy)?;
        tunnel.set_read_timeout(Some(TIMEOUT))?;
        write!(
            tunnel,
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
        )?;
        let mut reply = [0; 4096];
        let len = tunnel.read(&mut reply)?;
        ensure!(
            reply[..len].starts_with(b"HTTP/1.1 200"),
            "a tunnel is refused"
        );
        tunnel.write_all(b"GET /endless HTTP/1.1\r\n\r\n")?;
        tunnel.set_nonblocking(true)?;
        held.push(tunnel);
    }
    let began = now();
    while began.elapsed() < FILL {
        if is_upload {
            for tunnel in &mut held {
                // Until the kernel's buffers are full too.
                while tunnel.write(&[b'u'; 65536]).is_ok() {}
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = now();
    get(proxy, target)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Gets the small page through the proxy.
pub(crate) fn get(proxy: SocketAddr, target: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET http://{target}/small HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("hi"), "the answer is {answer:?}");
    Ok(())
}
