//! Forbidden destinations: every spelling through every front end. Each is refused as the front end's protocol
//! says, counted, and logged once; what listens at the forbidden addresses never hears of it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod front_ends;
mod log;
mod names;
mod spellings;
#[path = "../support/mod.rs"]
mod support;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rp_protocol::{Endpoint, config::EndpointConfig};
use rp_proxy::{Client, ClientConfig, Exit, ExitConfig, Link, exit::policy::Policy};
use tokio::net::{TcpListener, UdpSocket};

use self::{
    front_ends::{ALL, FrontEnd, Told},
    log::Log,
    names::{Rebinding, name_server},
    spellings::{ADDRESSES, METADATA, NAMES, NO_HOSTS, NUMBERS, answers},
    support::{identity, listening::rules, local, serve_exit, server_at, soon, transport},
};

/// A client with all its front ends, and the exit under test.
struct World {
    proxy: SocketAddr,
    client: Client,
    exit: Exit,
    _server: Endpoint,
    /// Refused datagrams, and malformed ones, so far.
    seen: Cell<(u64, u64)>,
}

impl World {
    async fn new(policy: Policy, name_server: SocketAddr) -> Self {
        let config = ExitConfig::default()
            .policy(policy)
            .name_servers(vec![name_server]);
        let (server, exit) = (server_at(local()).unwrap(), Exit::new(config));
        serve_exit(&server, &exit, rules(&["*:*"]));
        let remote = server.local_addr().unwrap();
        let near = Endpoint::bind(local(), EndpointConfig::default(), None).unwrap();
        let link = Link::connecting(move || {
            let near = near.clone();
            async move { near.connect(remote, transport()).await }
        });
        let client = Client::new(link, ClientConfig::default());
        Self {
            proxy: support::listening::proxy(&client).await,
            client,
            exit,
            _server: server,
            seen: Cell::default(),
        }
    }

    /// Waits until the exit has refused one more datagram.
    async fn judged(&self) {
        let (before, malformed) = self.seen.get();
        while self.exit.datagrams().denied.load(Relaxed) == before {
            tokio::task::yield_now().await;
        }
        self.seen.set((before + 1, malformed));
    }

    /// Waits until a front end has turned one more datagram away.
    async fn turned_away(&self) {
        while self.client.counters().refused.load(Relaxed) == self.seen.get().1 {
            tokio::task::yield_now().await;
        }
    }

    fn counts(&self) -> (u64, u64, u64) {
        let (exit, client) = (self.exit.counters().usage(), self.client.counters());
        (exit.denied, exit.failed, client.refused.load(Relaxed))
    }
}

/// Sockets at the loopback addresses, for TCP and UDP, and how often something came.
struct Trap {
    port: u16,
    came: Arc<AtomicU64>,
}

impl Trap {
    async fn set(ips: &[&str]) -> Self {
        Self::set_at(ips, 0).await
    }

    async fn set_at(ips: &[&str], mut port: u16) -> Self {
        let came = Arc::<AtomicU64>::default();
        for ip in ips {
            let ip: IpAddr = ip.parse().unwrap();
            let listener = TcpListener::bind((ip, port)).await.unwrap();
            port = listener.local_addr().unwrap().port();
            let udp = UdpSocket::bind((ip, port)).await.unwrap();
            let count = came.clone();
            tokio::spawn(async move {
                let mut datagram = [0; 64];
                loop {
                    tokio::select! {
                        accepted = listener.accept() => drop(accepted.unwrap()),
                        received = udp.recv_from(&mut datagram) => drop(received.unwrap()),
                    }
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        Self { port, came }
    }

    fn came(&self) -> u64 {
        self.came.load(Relaxed)
    }
}

/// Asks for `host` at every front end, and checks what is said, counted and logged.
async fn is_forbidden_everywhere(world: &World, log: &Log, host: &str, port: u16) -> usize {
    let key = identity(2).public_key().to_string();
    let mut asked = 0;
    for front_end in ALL {
        log.take();
        let before = world.counts();
        let Some(told) = front_end.ask(world, host, port).await else {
            continue;
        };
        let what = format!("{front_end:?} {host}");
        match front_end.is_udp() {
            true => assert_eq!(told, Told::Nothing, "{what}"),
            false => assert_eq!(told, Told::Forbidden, "{what}"),
        }
        assert_eq!(world.counts(), (before.0 + 1, before.1, before.2), "{what}");
        let lines = log.take();
        let refusals: Vec<_> = lines.iter().filter(|line| line.contains(&key)).collect();
        assert_eq!(refusals.len(), 1, "{what}: {lines:?}");
        let target = refusals[0].contains(&format!(":{port}"));
        assert!(
            target && refusals[0].contains("target="),
            "{what}: {lines:?}"
        );
        asked += 1;
    }
    asked
}

#[tokio::test]
async fn every_spelling_is_refused_at_every_front_end_and_logged_once() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# The exit MUST check the resolved address and dial that same address.
    let log = Log::start();
    let trap = Trap::set(&["127.0.0.1", "::1"]).await;
    let world = World::new(Policy::default(), name_server(answers).await).await;
    let spellings = [ADDRESSES, METADATA, NUMBERS, NAMES].concat();
    assert!(spellings.len() >= 100, "{}", spellings.len());
    let mut asked = 0;
    for host in spellings {
        asked += is_forbidden_everywhere(&world, &log, host, trap.port).await;
    }
    assert!(asked > 1200, "{asked}");
    assert_eq!(trap.came(), 0);
}

#[tokio::test]
async fn metadata_and_own_listeners_are_refused_everywhere_whatever_the_rules_say() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# Cloud metadata addresses and the server's own listeners MUST be refused whatever the rules say.
    let log = Log::start();
    let trap = Trap::set(&["127.0.0.1", "::1"]).await;
    let open = Policy::default()
        .allow("0.0.0.0/0".parse().unwrap())
        .allow("::/0".parse().unwrap())
        .listener(SocketAddr::from(([0; 4], trap.port)));
    let world = World::new(open, name_server(answers).await).await;
    let mut hosts: Vec<String> = METADATA.iter().map(ToString::to_string).collect();
    hosts.extend(NUMBERS.iter().chain(NAMES).map(ToString::to_string));
    // These lead to other machines, too, where the rules now allow to go.
    hosts.retain(|host| {
        !["private.test", "link-local.test", "many.test", "alias.test"].contains(&&**host)
    });
    for address in nix::ifaddrs::getifaddrs().unwrap() {
        let address = address.address;
        let v4 = address.and_then(|address| Some(address.as_sockaddr_in()?.ip()));
        let v6 = address.and_then(|address| Some(address.as_sockaddr_in6()?.ip()));
        hosts.extend(v4.map(|ip| ip.to_string()));
        hosts.extend(v4.map(|ip| ip.to_ipv6_mapped().to_string()));
        // One of the link needs its interface to be this machine's.
        let v6 = v6.filter(|ip| !ip.is_unicast_link_local());
        hosts.extend(v6.map(|ip| ip.to_string()));
    }
    hosts.extend(["0.0.0.0", "::", "::ffff:0.0.0.0", "127.9.9.9"].map(String::from));
    for host in &hosts {
        is_forbidden_everywhere(&world, &log, host, trap.port).await;
    }
    assert_eq!(trap.came(), 0);
}

#[tokio::test]
async fn what_is_no_host_makes_no_sense_anywhere_and_is_counted() {
    let trap = Trap::set(&["127.0.0.1", "::1"]).await;
    let world = World::new(Policy::default(), name_server(answers).await).await;
    for host in NO_HOSTS {
        for front_end in ALL {
            let before = world.counts();
            world.seen.set((world.seen.get().0, before.2));
            let Some(told) = front_end.ask(&world, host, trap.port).await else {
                continue;
            };
            let what = format!("{front_end:?} {host}");
            // SOCKS4 has one word for all refusals.
            let wanted = match front_end {
                FrontEnd::Socks4a => Told::Forbidden,
                _ => Told::NoSense,
            };
            assert_eq!(told, wanted, "{what}");
            let is_wire = front_end == FrontEnd::Wire;
            let counted = async {
                // A front end counts behind its answer.
                let wanted = match is_wire {
                    true => (before.0, before.1 + 1, before.2),
                    false => (before.0, before.1, before.2 + 1),
                };
                while world.counts() != wanted {
                    tokio::task::yield_now().await;
                }
            };
            let counted = tokio::time::timeout(support::STEP_TIMEOUT, counted).await;
            assert!(counted.is_ok(), "{what}: {before:?} {:?}", world.counts());
        }
    }
    assert_eq!(trap.came(), 0);
}

#[tokio::test]
async fn a_url_that_two_readers_read_differently_leads_to_no_forbidden_host() {
    let trap = Trap::set(&["127.0.0.1", "::1"]).await;
    let world = World::new(Policy::default(), name_server(answers).await).await;
    let port = trap.port;
    for url in [
        "http://127.0.0.1:PORT",
        "http://127.0.0.1:PORT/path",
        "http://127.0.0.1:PORT?query",
        "http://127.0.0.1:PORT#@public.test/",
        "http://127.0.0.1:PORT/@public.test/",
        "HTTP://127.0.0.1:PORT/",
        "http://public.test@127.0.0.1:PORT/",
        "http://public.test:80@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT\\@public.test/",
        "http://public.test\\@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT:80/",
        "http://[::1]:PORT/",
        "http://[::1]PORT/",
        "http://::1:PORT/",
        "http:///127.0.0.1:PORT/",
        "http:127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "ftp://127.0.0.1:PORT/file",
        "FTP://127.0.0.1:PORT/file",
        "ftp://public.test@127.0.0.1:PORT/file",
        "ftp://public.test:21@127.0.0.1:PORT/",
        "ftp://user:pass%40public.test@127.0.0.1:PORT/",
        "ftp://127.0.0.1:PORT/%2e%2e/@public.test",
        "ftp://127.0.0.1:PORT;type=i",
        "gopher://127.0.0.1:PORT/",
        "file:///etc/passwd",
    ] {
        let url = url.replace("PORT", &port.to_string());
        let request = format!("GET {url} HTTP/1.1\r\nHost: public.test\r\n\r\n");
        let (status, head) = support::http::status(world.proxy, &request).await;
        assert!(matches!(status, 400 | 403), "{url}: {head}");
    }
    assert_eq!(trap.came(), 0);
}

#[tokio::test]
async fn a_name_that_changes_between_check_and_dial_leads_where_it_was_checked() {
    let harmless = Trap::set(&["127.0.0.2"]).await;
    let port = harmless.port;
    let trap = Trap::set_at(&["127.0.0.1"], port).await;
    let rebinding = Rebinding::new("127.0.0.2", "127.0.0.1");
    let answers = rebinding.clone();
    let policy = Policy::default().allow("127.0.0.2".parse().unwrap());
    let world = World::new(policy, name_server(move |_| answers.answer()).await).await;
    for (number, front_end) in ALL.into_iter().enumerate() {
        // Neither waits for what this test looks at, and SOCKS4 has no names.
        if matches!(
            front_end,
            FrontEnd::Socks4 | FrontEnd::Socks5Bind | FrontEnd::DivertedUdp
        ) {
            continue;
        }
        rebinding.forget();
        let host = format!("rebind{number}.test");
        let before = harmless.came();
        let arrived = async {
            while harmless.came() == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            // The answer of a target that hangs up is no concern of this test.
            _ = front_end.ask(&world, &host, port) => {}
            () = soon(arrived) => {}
        }
        assert!(harmless.came() > before, "{front_end:?}");
        // And now the name is one of this machine.
        let told = match front_end.is_udp() {
            true => Some(Told::Nothing),
            false => Some(Told::Forbidden),
        };
        let asked = front_end.ask(&world, &host, port).await;
        assert_eq!(asked, told, "{front_end:?}");
    }
    assert_eq!(trap.came(), 0);
}
