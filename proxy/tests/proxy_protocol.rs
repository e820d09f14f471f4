//! Targets that are told whom they serve, by the PROXY protocol.

mod support;

use std::net::IpAddr;

use rp_proxy::{AccessCheck, ClientConfig, ExitConfig, TargetAccess};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc::unbounded_channel,
};

/// A key that may reach everything, and may or may not say where connections come from.
#[derive(Clone, Copy)]
struct Key {
    may_name: bool,
}

impl AccessCheck for Key {
    fn target_access(&self) -> Option<TargetAccess> {
        Some(TargetAccess::All)
    }

    fn may_name_source(&self, source: IpAddr) -> bool {
        self.may_name && source.is_loopback()
    }
}

/// Bytes of the header over IPv4.
const HEADER: usize = 28;

#[tokio::test]
async fn a_target_gets_the_header_before_the_first_byte() {
    //= spec/10-proxy.md#proxy-protocol
    //= type=test
    //# An exit MAY begin its connection to a target with a header of the PROXY protocol, version 2, where its owner asked
    //# for that for the target.
    //= spec/10-proxy.md#proxy-protocol
    //= type=test
    //# The header MUST stand before everything the client sends.
    let (sender, mut seen) = unbounded_channel();
    let target = origin(move |mut tcp| {
        let sender = sender.clone();
        async move {
            let mut all = Vec::new();
            tcp.read_to_end(&mut all).await.unwrap();
            sender.send(all).unwrap();
        }
    })
    .await;
    let plain = echo().await;
    let rule = format!("127.0.0.1:{}", target.port()).parse().unwrap();
    let config = ExitConfig::default()
        .policy(loopback_allowed())
        .proxy_protocol(vec![rule]);
    let world = world_of(config, TargetAccess::All, ClientConfig::default()).await;
    let mut tcp = socks5(world.proxy, target).await.unwrap();
    tcp.write_all(b"hello").await.unwrap();
    tcp.shutdown().await.unwrap();
    let all = soon(seen.recv()).await.unwrap();
    assert_eq!(all[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(all[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    let near = world.near.local_addr().unwrap().port();
    assert_eq!(all[24..26], near.to_be_bytes());
    assert_eq!(all[26..28], target.port().to_be_bytes());
    assert_eq!(all[HEADER..], *b"hello");
    // Others are told nothing.
    let mut tcp = socks5(world.proxy, plain).await.unwrap();
    tcp.write_all(b"hello").await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"hello");
}

//= spec/10-proxy.md#proxy-protocol
//= type=test
//# An exit MUST NOT write a source into it that the client has said and its key may not.
//= spec/10-proxy.md#request
//= type=test
//# A client MUST NOT say where a connection comes from unless its user has asked for that.
#[tokio::test]
async fn the_source_is_what_the_client_says_where_its_user_wants_and_its_key_may() {
    for (tells, may_name) in [(false, true), (true, false), (true, true)] {
        let (sender, mut seen) = unbounded_channel();
        let target = origin(move |mut tcp| {
            let sender = sender.clone();
            async move {
                let mut header = [0; HEADER];
                tcp.read_exact(&mut header).await.unwrap();
                sender.send(header).unwrap();
            }
        })
        .await;
        let config = ExitConfig::default()
            .policy(loopback_allowed())
            .proxy_protocol(vec!["*:*".parse().unwrap()]);
        let client = ClientConfig::default().tells_source(tells);
        let world = world_of(config, Key { may_name }, client).await;
        let tcp = socks5(world.proxy, target).await.unwrap();
        let header = soon(seen.recv()).await.unwrap();
        let source = match tells && may_name {
            true => tcp.local_addr().unwrap(),
            false => world.near.local_addr().unwrap(),
        };
        assert_eq!(
            header[24..26],
            source.port().to_be_bytes(),
            "{tells} {may_name}"
        );
    }
}
