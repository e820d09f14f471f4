//! What can be said about connecting without a server.

use rp_protocol::config::EndpointConfig;

use super::*;

#[test]
fn a_server_is_shown_as_it_is_typed() {
    for (host, shown) in [("example.org", "example.org:7377"), ("::1", "[::1]:7377")] {
        let host = host.to_owned();
        let port = DEFAULT_PORT;
        assert_eq!(Server { host, port }.to_string(), shown);
    }
}

#[tokio::test]
async fn the_family_asked_for_is_kept() {
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: DEFAULT_PORT,
    };
    assert_eq!(resolve(&server, Family::V4).await.unwrap().len(), 1);
    let error = resolve(&server, Family::V6).await.unwrap_err();
    assert!(matches!(error, ConnectFailure::NoAddress(_)), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Connect);
}

#[test]
fn a_server_is_typed_with_or_without_a_port() {
    let shown = |text: &str| text.parse::<Server>().map(|server| server.to_string()).ok();
    assert_eq!(shown("host").as_deref(), Some("host:7377"));
    assert_eq!(shown("host:1").as_deref(), Some("host:1"));
    assert_eq!(shown("2001:db8::1").as_deref(), Some("[2001:db8::1]:7377"));
    assert_eq!(shown("[2001:db8::1]:5").as_deref(), Some("[2001:db8::1]:5"));
    assert_eq!(
        shown("[fe80::1%eth0]:5").as_deref(),
        Some("[fe80::1%eth0]:5")
    );
    assert_eq!(
        shown("fe80::1%eth0").as_deref(),
        Some("[fe80::1%eth0]:7377")
    );
    for odd in [
        "",
        "[fe80::1%]",
        "host%eth0",
        ":1",
        "host:",
        "host:0",
        "host:99999",
        "host:+1",
        "a b",
        "user@host",
        "[x]:1",
        "a/b",
    ] {
        assert_eq!(shown(odd), None, "{odd}");
    }
}

#[test]
fn each_failure_says_in_one_line_what_to_do() {
    let server: Server = "host".parse().unwrap();
    let text = |error: ConnectionError| {
        let is_version = match &error {
            ConnectionError::VersionMismatch => true,
            ConnectionError::PeerTransport { code, .. } => *code == NO_APPLICATION_PROTOCOL,
            _ => false,
        };
        let code = match is_version {
            true => ExitCode::Version,
            false => ExitCode::Connect,
        };
        let failure = ConnectFailure::explain(error.into(), &server, "rpp-proxy/1");
        assert_eq!(failure.exit_code(), code);
        let text = failure.to_string();
        assert!(text.contains("host:7377") && !text.contains('\n'), "{text}");
        text
    };
    let closed = |code| ConnectionError::PeerTransport {
        code,
        reason: bytes::Bytes::new(),
    };
    assert!(text(ConnectionError::HandshakeTimedOut).contains("blocks UDP"));
    assert!(text(closed(ACCESS_DENIED)).contains("authorized_keys"));
    assert!(text(closed(NO_APPLICATION_PROTOCOL)).contains("rpp-proxy/1"));
    assert!(text(ConnectionError::VersionMismatch).contains("same release"));
    let refused = |code, reason: &'static [u8]| {
        let reason = bytes::Bytes::from_static(reason);
        text(ConnectionError::PeerClosed { code, reason })
    };
    let elsewhere = refused(close_code::NOT_PERMITTED, b"not from here\x1b[2J");
    assert!(
        elsewhere.contains("our key away: not from here?"),
        "{elsewhere}"
    );
    let many = refused(close_code::TOO_MANY, b"too many connections with this key");
    assert!(
        many.contains("too many connections with this key; end others"),
        "{many}"
    );
}

/// Trusts every key.
#[derive(Debug)]
struct Anybody;

impl rp_protocol::crypto::identity::PeerVerifier for Anybody {
    fn verify(
        &self,
        _: &rp_protocol::crypto::identity::PublicKey,
    ) -> Result<(), rp_protocol::crypto::identity::PeerRejected> {
        Ok(())
    }
}

//= spec/02-handshake.md#half-open-connections
//= type=test
//# A client that is refused with CONNECTION_REFUSED SHOULD try again several times, each time after twice the wait.
#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let identity = |seed| Arc::new(Identity::from_seed(&[seed; 32]));
    let config =
        rp_protocol::config::ServerConfig::new(identity(1), Arc::new(Anybody), &["test/1"]);
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Endpoint::bind(local, EndpointConfig::default(), Some(config)).unwrap();
    let address = server.local_addr().unwrap();
    let host = HostName::new("127.0.0.1", address.port());
    let print = identity(1).public_key().fingerprint();
    let attempt = Attempt {
        identity: identity(2),
        policy: Arc::new(HostKeyPolicy::fingerprint(
            host,
            print.parse().unwrap(),
            None,
        )),
        service: "test/1".to_owned(),
        transport: TransportConfig::default(),
        memory: MemoryBudget::of_machine(),
    };
    let accept = async {
        for _ in 0..2 {
            server.accept().await.unwrap().refuse();
        }
        server.accept().await.unwrap().accept().await
    };
    let (connected, accepted) = tokio::join!(attempt.run(address), accept);
    assert!(connected.is_ok() && accepted.is_ok());
}
