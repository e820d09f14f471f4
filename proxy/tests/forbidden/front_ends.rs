//! Every way in: how a client asks for a destination there, and how it is refused.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use rp_proxy::{
    Client,
    datagram::{Flows, forward as forward_datagrams},
    error::OpenError,
    listening::{Listening, loopback},
    open::decode_reply,
    target::Target,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

use super::{
    World,
    support::{http::status, read_exactly, soon},
};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrontEnd {
    HttpAbsolute,
    HttpConnect,
    FtpUrl,
    Socks4,
    Socks4a,
    Socks5,
    Socks5Bind,
    Socks5Udp,
    LocalForward,
    LocalForwardUdp,
    /// What `rpclient connect` and the library's users call.
    Connect,
    Associate,
    /// Flows of diverted datagrams.
    DivertedUdp,
    /// A client that speaks the streams itself, and may say what it likes.
    Wire,
}

pub(crate) const ALL: [FrontEnd; 14] = [
    FrontEnd::HttpAbsolute,
    FrontEnd::HttpConnect,
    FrontEnd::FtpUrl,
    FrontEnd::Socks4,
    FrontEnd::Socks4a,
    FrontEnd::Socks5,
    FrontEnd::Socks5Bind,
    FrontEnd::Socks5Udp,
    FrontEnd::LocalForward,
    FrontEnd::LocalForwardUdp,
    FrontEnd::Connect,
    FrontEnd::Associate,
    FrontEnd::DivertedUdp,
    FrontEnd::Wire,
];

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// That the rules forbid it, or where there are no words for that, that it failed.
    Forbidden,
    /// That it makes no sense.
    NoSense,
    /// Nothing: datagrams are lost.
    Nothing,
    /// Something else.
    Else(String),
}

impl FrontEnd {
    pub(crate) fn is_udp(self) -> bool {
        use FrontEnd::{Associate, DivertedUdp, LocalForwardUdp, Socks5Udp};
        matches!(self, Socks5Udp | LocalForwardUdp | Associate | DivertedUdp)
    }

    /// Asks for `host` and `port`; `None` if that cannot be said here.
    pub(crate) async fn ask(self, world: &World, host: &str, port: u16) -> Option<Told> {
        let ip: Option<IpAddr> = host.parse().ok();
        let target = || Target::parse(&format!("{}:{port}", in_url(host)), None).ok();
        Some(match self {
            Self::HttpAbsolute => {
                let line = format!("GET http://{}:{port}/ HTTP/1.1", in_url(host));
                http(world, &line).await
            }
            Self::HttpConnect => {
                let line = format!("CONNECT {}:{port} HTTP/1.1", in_url(host));
                http(world, &line).await
            }
            Self::FtpUrl => {
                let line = format!("GET ftp://{}:{port}/ HTTP/1.1", in_url(host));
                http(world, &line).await
            }
            Self::Socks4 => match ip? {
                // 0.0.0.x is SOCKS4a's mark.
                IpAddr::V4(ip) if !ip.octets().starts_with(&[0, 0, 0]) || ip.is_unspecified() => {
                    socks4(world, &ip.octets(), None, port).await
                }
                _ => return None,
            },
            Self::Socks4a => socks4(world, &[0, 0, 0, 1], Some(host), port).await,
            Self::Socks5 => socks5(world, 1, host, port).await,
            // The unspecified address stands for anybody there.
            Self::Socks5Bind if ip.is_some_and(|ip| ip.to_canonical().is_unspecified()) => {
                return None;
            }
            Self::Socks5Bind => socks5(world, 2, host, port).await,
            Self::Socks5Udp => socks5_udp(world, host, port).await,
            Self::LocalForward => local_forward(world, target()?).await,
            Self::LocalForwardUdp => {
                local_forward_udp(world, target()?).await;
                Told::Nothing
            }
            Self::Connect => match soon(world.client.connect(target()?, Bytes::new())).await {
                Err(OpenError::Dial(failure)) => told(failure.kind.into_wire()),
                other => Told::Else(format!("{other:?}")),
            },
            Self::Associate => {
                let association = soon(world.client.associate()).await.unwrap();
                let payload = Bytes::from_static(b"knock");
                soon(association.send(&target()?, payload)).await.unwrap();
                soon(world.judged()).await;
                Told::Nothing
            }
            Self::DivertedUdp => {
                ip?;
                let flows = Flows::new(world.client.clone(), |_, _, _| async {});
                let source = SocketAddr::from(([10, 9, 8, 7], 1234));
                flows.send(source, target()?, Bytes::from_static(b"knock"));
                soon(world.judged()).await;
                Told::Nothing
            }
            Self::Wire => wire(&world.client, host, port).await,
        })
    }
}

/// `host` as a URL has it.
fn in_url(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    }
}

fn told(code: u8) -> Told {
    match code {
        2 => Told::Forbidden,
        1 | 10 => Told::NoSense,
        code => Told::Else(code.to_string()),
    }
}

async fn http(world: &World, line: &str) -> Told {
    let (status, head) = status(world.proxy, &format!("{line}\r\nHost: x\r\n\r\n")).await;
    match status {
        403 => Told::Forbidden,
        400 => Told::NoSense,
        _ => Told::Else(head),
    }
}

async fn socks4(world: &World, ip: &[u8; 4], name: Option<&str>, port: u16) -> Told {
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    request.extend(ip);
    request.push(0);
    if let Some(name) = name {
        request.extend(name.as_bytes());
        request.push(0);
    }
    tcp.write_all(&request).await.unwrap();
    let reply = read_exactly(&mut tcp, 8).await;
    match reply[..2] {
        [0, 0x5b] => Told::Forbidden,
        _ => Told::Else(format!("{reply:?}")),
    }
}

/// Type and address of SOCKS5; the port follows.
fn socks5_address(host: &str, port: u16) -> Vec<u8> {
    let mut out = match host.parse() {
        Ok(IpAddr::V4(ip)) => [&[1][..], &ip.octets()].concat(),
        Ok(IpAddr::V6(ip)) => [&[4][..], &ip.octets()].concat(),
        Err(_) => [&[3, u8::try_from(host.len()).unwrap()], host.as_bytes()].concat(),
    };
    out.extend(port.to_be_bytes());
    out
}

async fn socks5(world: &World, command: u8, host: &str, port: u16) -> Told {
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    let request = [&[5, 1, 0, 5, command, 0][..], &socks5_address(host, port)].concat();
    tcp.write_all(&request).await.unwrap();
    let reply = read_exactly(&mut tcp, 4).await;
    told(reply[3])
}

async fn socks5_udp(world: &World, host: &str, port: u16) -> Told {
    let mut tcp = TcpStream::connect(world.proxy).await.unwrap();
    tcp.write_all(&[5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let reply = read_exactly(&mut tcp, 12).await;
    assert_eq!(reply[..6], [5, 0, 5, 0, 0, 1]);
    let relay: [u8; 4] = reply[6..10].try_into().unwrap();
    let relay = SocketAddr::from((relay, u16::from_be_bytes([reply[10], reply[11]])));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagram = [&[0, 0, 0][..], &socks5_address(host, port), b"knock"].concat();
    socket.send_to(&datagram, relay).await.unwrap();
    soon(async {
        tokio::select! {
            () = world.judged() => Told::Nothing,
            () = world.turned_away() => Told::NoSense,
        }
    })
    .await
}

async fn local_forward(world: &World, target: Target) -> Told {
    let listening = Listening::at(&loopback(0)).unwrap();
    let at = listening.local_addr().unwrap();
    let client = world.client.clone();
    let forwarding = tokio::spawn(async move { client.forward(&listening, &target.into()).await });
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let end = soon(tcp.read_u8()).await;
    forwarding.abort();
    match end {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Told::Forbidden,
        end => Told::Else(format!("{end:?}")),
    }
}

async fn local_forward_udp(world: &World, target: Target) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let forwarding = tokio::spawn(forward_datagrams(world.client.clone(), socket, target));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"knock", at).await.unwrap();
    soon(world.judged()).await;
    forwarding.abort();
}

/// As a name, whatever it is: no check of ours is before the exit's.
async fn wire(client: &Client, host: &str, port: u16) -> Told {
    let connection = client.link().connection().await.unwrap();
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let mut request = vec![1, 3, u8::try_from(host.len()).unwrap()];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    request.push(0);
    soon(send.write_bytes(request.into())).await.unwrap();
    let mut head = Vec::new();
    loop {
        if let Some((reply, _)) = decode_reply(&head).unwrap() {
            return match reply {
                Ok(bound) => Told::Else(bound.to_string()),
                Err(failure) => told(failure.kind.into_wire()),
            };
        }
        head.extend(soon(recv.read_bytes(256)).await.unwrap().unwrap());
    }
}
