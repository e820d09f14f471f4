//! What becomes of a connection when the line of its key changes.

use std::{fs, net::Ipv4Addr, sync::Arc};

use rp_cli::{
    authorized_keys::{AuthorizedKeys, Refusal},
    connect::{Connected, Family, Server, Trust, connect},
    identity, openssh,
    prompt::Nobody,
    session::Session,
};
use rp_protocol::{
    Endpoint,
    config::{EndpointConfig, ServerConfig, TransportConfig},
    error::ConnectionError,
    units::CloseCode,
};
use rp_proxy::{
    Client,
    error::{FailureKind, OpenError},
    target::Target,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::World;

const NOT_PERMITTED: CloseCode = CloseCode::from_u32(1);

/// A target that sends back what it is sent.
async fn echo() -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Target::parse(&address.to_string(), None).unwrap()
}

/// Opens `target` on an old connection: what the server answers.
async fn open(
    connected: &Connected,
    target: &Target,
) -> Result<rp_proxy::client::TargetStream, OpenError> {
    let mut stream = Client::open_on(&connected.connection, target).await?;
    stream.connected().await?;
    Ok(stream)
}

fn is_not_permitted(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::PeerClosed { code, .. } if *code == NOT_PERMITTED)
}

#[tokio::test]
async fn key_that_is_let_in_no_more_loses_its_connection_at_its_next_request() {
    let target = echo().await;
    for change in [
        "",
        "expiry-time=\"20200101\" ",
        "from=\"192.0.2.1\" ",
        "command=\"x\" ",
    ] {
        let world = World::new();
        let connected = world.connect().await;
        let mut running = open(&connected, &target).await.unwrap().into_far();
        running.send.write_all(b"before").await.unwrap();
        let mut echoed = [0; 6];
        running.recv.read_exact(&mut echoed).await.unwrap();

        match change {
            "" => world.list("# nobody\n"),
            options => world.list(&format!("{options}{}\n", world.line)),
        }
        let refused = open(&connected, &target).await.map(drop).unwrap_err();
        assert!(
            matches!(refused, OpenError::ConnectionLost(ref lost) if is_not_permitted(lost)),
            "{change}: {refused:?}"
        );
        // What ran before is over as well.
        assert!(is_not_permitted(&connected.connection.closed().await));
        assert!(running.recv.read_u8().await.is_err());
    }
}

#[tokio::test]
async fn narrower_line_binds_the_next_request_of_an_old_connection() {
    let target = echo().await;
    let world = World::new();
    let connected = world.connect().await;
    for (options, is_let_out) in [
        ("", true),
        ("restrict ", false),
        ("permitopen=\"127.0.0.1:*\" ", true),
        ("permitopen=\"127.0.0.2:*\" ", false),
        ("no-port-forwarding ", false),
        ("from=\"127.0.0.1\" ", true),
    ] {
        world.list(&format!("{options}{}\n", world.line));
        match open(&connected, &target).await {
            Ok(_) => assert!(is_let_out, "{options}"),
            Err(OpenError::Dial(failure)) => {
                assert_eq!(failure.kind, FailureKind::Denied);
                assert!(!is_let_out, "{options}");
            }
            Err(error) => panic!("{options}: {error}"),
        }
    }
}

/// The runtime's time runs by itself while everybody waits, so the session's pauses take none.
#[tokio::test(start_paused = true)]
async fn key_that_asks_for_nothing_loses_its_connection_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authorized_keys");
    let client = identity::load_or_make_host_key(&folder.path().join("id"), &Nobody).unwrap();
    let key = client.identity.public_key();
    fs::write(&path, openssh::format_key(&key)).unwrap();
    let keys = Arc::new(AuthorizedKeys::new(path.clone()));
    let host_key = identity::ephemeral();
    let fingerprint = host_key.public_key().fingerprint();
    let config = ServerConfig::new(Arc::new(host_key), keys.clone(), &["rpp-test/1"]);
    let loopback = (Ipv4Addr::LOCALHOST, 0).into();
    let endpoint = Endpoint::bind(loopback, EndpointConfig::default(), Some(config)).unwrap();
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: endpoint.local_addr().unwrap().port(),
    };
    let trust = Trust {
        identity: Some(folder.path().join("id")),
        host_key: Some(fingerprint.parse().unwrap()),
        known_hosts: None,
    };
    let transport = TransportConfig::default();
    let connecting = connect(
        &server,
        Family::Any,
        &trust,
        "rpp-test/1",
        transport,
        &Nobody,
    );
    let accepting = async { endpoint.accept().await.unwrap().accept().await.unwrap() };
    let (connected, accepted) = tokio::join!(connecting, accepting);
    let connected = connected.unwrap();

    let source = accepted.remote_address().ip();
    let grant = keys.grant_for(&key, source).unwrap();
    let session = Session::new(
        accepted,
        keys.clone(),
        Arc::default(),
        Default::default(),
        grant,
    );
    assert!(session.grant().is_some());
    fs::write(&path, "").unwrap();
    session.watch().await;
    assert!(is_not_permitted(&connected.connection.closed().await));
    assert_eq!(keys.grant_for(&key, source), Err(Refusal::Unknown));
}
