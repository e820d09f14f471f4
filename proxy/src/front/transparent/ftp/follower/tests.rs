//! Dialogues as clients and servers have them, whole and byte by byte.

use super::*;

/// What is passed to the server or to the client, and the addresses named.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    passed: Vec<u8>,
    passive: Vec<SocketAddr>,
    active: Vec<SocketAddr>,
}

impl Seen {
    fn add(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Pass(bytes) => self.passed.extend(bytes),
                Step::Passive(naming) => {
                    self.passive.push(naming.address);
                    self.passed.extend(naming.line);
                }
                Step::Active(naming) => {
                    self.active.push(naming.address);
                    self.passed.extend(naming.line);
                }
            }
        }
    }
}

/// Gives `text` to the side `feed` in pieces of `size` bytes, until the follower gives up.
fn fed(text: &[u8], size: usize, feed: impl Fn(&mut Follower, &[u8]) -> Vec<Step>) -> Seen {
    let mut follower = Follower::default();
    let mut seen = Seen::default();
    let mut pieces = text.chunks(size);
    for piece in pieces.by_ref() {
        seen.add(feed(&mut follower, piece));
        if follower.is_opaque() {
            break;
        }
    }
    for held in follower.held() {
        seen.passed.extend(held);
    }
    pieces.for_each(|piece| seen.passed.extend(piece));
    seen
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

const SIZES: [usize; 5] = [1, 2, 7, 64, 100_000];

#[test]
fn a_servers_addresses_are_found_and_everything_passes_unchanged() {
    let long = format!("220 {}\r\n", "x".repeat(600));
    let text = format!(
        "220-Welcome\r\n227 not a reply (1,2,3,4,5,6)\r\n220 Ready\r\n{long}331 Password?\r\n\
         230-Hello\r\n 227 (1,2,3,4,5,6)\r\n230 In\r\n227 Entering Passive Mode (10,0,0,5,4,1).\r\n\
         229 Entering Extended Passive Mode (|||6446|)\r\n227 nothing here\r\n2\r\n22\r\n\
         227 Entering Passive Mode (192,168,1,1,0,21)\n150 Here"
    );
    for size in SIZES {
        let seen = fed(text.as_bytes(), size, Follower::on_server);
        assert_eq!(seen.passed, text.as_bytes(), "{size}");
        assert_eq!(
            seen.passive,
            addresses(&["10.0.0.5:1025", "192.168.1.1:21"]),
            "{size}"
        );
    }
}

#[test]
fn a_clients_addresses_are_found_and_everything_passes_unchanged() {
    let text =
        b"USER me\r\nPASS PORT 1,2,3,4,5,6\r\nport 192,168,0,9,200,3\r\nEPRT |2|fd00::9|5282|\r\n\
                 PORT x\r\nEPRT |||\r\nPASV\r\nEPSV\r\n\xff\xf4\xff\xf2ABOR\r\nEPORT\r\nP";
    for size in SIZES {
        let seen = fed(text, size, Follower::on_client);
        assert_eq!(seen.passed, text, "{size}");
        assert_eq!(
            seen.active,
            addresses(&["192.168.0.9:51203", "[fd00::9]:5282"]),
            "{size}"
        );
    }
}

#[test]
fn nothing_is_held_back_that_names_no_address() {
    let mut follower = Follower::default();
    for piece in [&b"USER"[..], b" me", b"\r\n", b"STOR PORT "] {
        let steps = follower.on_client(piece);
        assert_eq!(steps, [Step::Pass(Bytes::copy_from_slice(piece))]);
    }
    let mut follower = Follower::default();
    assert_eq!(follower.on_server(b"22"), []);
    assert_eq!(
        follower.on_server(b"0 hi"),
        [Step::Pass(Bytes::from_static(b"220 hi"))]
    );
    // Nor for ever what might name one.
    let mut follower = Follower::default();
    let endless = [b"227 ".as_slice(), &[b'a'; 600]].concat();
    assert_eq!(follower.on_server(&endless), [Step::Pass(endless.into())]);
}

#[test]
fn a_named_address_is_replaced_and_the_line_stays() {
    let named = |steps: Vec<Step>| match &steps[..] {
        [Step::Passive(naming) | Step::Active(naming)] => naming.clone(),
        other => panic!("{other:?}"),
    };
    let v4 = "203.0.113.10:1025".parse().unwrap();
    let v6 = "[2001:db8::1]:80".parse().unwrap();
    let mut follower = Follower::default();
    let passive = named(follower.on_server(b"227 Entering Passive Mode (10,0,0,5,4,1).\r\n"));
    assert_eq!(
        passive.renamed(v4),
        "227 Entering Passive Mode (203,0,113,10,4,1).\r\n"
    );
    let port = named(follower.on_client(b"PORT 192,168,0,9,200,3\r\n"));
    assert_eq!(port.renamed(v4), "PORT 203,0,113,10,4,1\r\n");
    assert_eq!(port.renamed(v6), "EPRT |2|2001:db8::1|80|\r\n");
    let extended = named(follower.on_client(b"EPRT |2|fd00::9|5282|\r\n"));
    assert_eq!(extended.renamed(v6), "EPRT |2|2001:db8::1|80|\r\n");
    assert_eq!(extended.renamed(v4), "EPRT |1|203.0.113.10|1025|\r\n");
}

#[test]
fn what_is_sealed_is_left_alone_and_only_then() {
    let sealed = b"\x16\x03\x01227 (1,2,3,4,5,6)\r\n";
    let mut follower = Follower::default();
    // Not asked for.
    follower.on_server(b"234 what?\r\n");
    assert!(!follower.is_opaque());
    follower.on_client(b"auth tls\r\n");
    follower.on_server(b"504 not here\r\n");
    assert!(!follower.is_opaque());
    let mut seen = Seen::default();
    seen.add(follower.on_server(&[b"234 AUTH TLS ok.\r\n", &sealed[..]].concat()));
    assert!(follower.is_opaque());
    assert_eq!(seen.passed, [b"234 AUTH TLS ok.\r\n", &sealed[..]].concat());
    assert_eq!(seen.passive, []);
}

#[test]
fn what_is_no_ftp_is_left_alone() {
    for foreign in [&b"\x16\x03\x01\0\xa5"[..], &[b'a'; MAX_LINE_BYTES + 1]] {
        for feed in [Follower::on_client, Follower::on_server] {
            let mut follower = Follower::default();
            let mut seen = Seen::default();
            seen.add(feed(&mut follower, foreign));
            assert!(follower.is_opaque());
            assert_eq!(seen.passed, foreign);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_pass_unchanged_in_any_pieces(
        lines in proptest::collection::vec("(227 |PORT |EPRT |AUTH |234 |22|po|[a-z0-9,|() -]{0,8}){0,3}(\r\n|\n|)", 0..8),
        size in 1..20_usize,
    ) {
        let text = lines.concat();
        for feed in [Follower::on_client, Follower::on_server] {
            let seen = fed(text.as_bytes(), size, feed);
            assert_eq!(seen.passed, text.as_bytes());
        }
    }
}
