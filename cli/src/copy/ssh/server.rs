//! The far side of a copy over ssh, `rpcp --server`: greets the near side over standard input and output, and
//! serves it what the user named, over RPP, for as long as the ssh session lasts.

use std::{
    env,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rp_protocol::{
    Endpoint,
    config::{EndpointConfig, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
};
use tokio::{
    io::{AsyncReadExt as _, Stdin},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    greeting::{GreetingError, Hello, Lines, Ports, Welcome},
    places,
};
use crate::{
    close_code,
    copy::{
        WINDOW,
        service::{self, Access, CopyLimits, CopyService},
    },
    exit_code::{ExitCode, Failure},
    identity,
    logging::{self, Format, Level},
    run,
};

/// How long the near side may take to say what it wants: it does so before it is let in.
const HELLO: Duration = Duration::from_secs(60);

/// How long nobody may be connected.
const ALONE: Duration = Duration::from_secs(60);

/// How long copies may take to end when the ssh session has: what was received is put in order.
const END: Duration = Duration::from_secs(5);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Connections at once: one of them copies, the others are attempts over other addresses.
const MOST_CONNECTIONS: usize = 8;

/// Runs `rpcp --server`.
///
/// # Errors
/// The near side is not understood, or there is no port.
pub(in crate::copy) fn main() -> Result<(), Failure> {
    run::raise_descriptor_limit();
    run::block_on(serve())
}

//= spec/20-copy.md#over-ssh
//# The far side MUST let in no key but the one that the client said.
/// Lets one key in.
#[derive(Debug)]
struct OneKey(PublicKey);

impl PeerVerifier for OneKey {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        match *key == self.0 {
            true => Ok(()),
            false => Err(PeerRejected(format!("{key} is not the key of this copy"))),
        }
    }
}

async fn serve() -> Result<(), Failure> {
    let mut stdin = tokio::io::stdin();
    let hello = match timeout(HELLO, listen(&mut stdin)).await {
        Ok(hello) => hello?,
        Err(_) => {
            return Err(failed(
                "nothing was said on standard input; rpcp starts this by itself, for host:path",
            ));
        }
    };
    logging::start(Level::WARN, hello.verbose, Format::Text);
    let (access, paths) = places::open(&hello.places);
    let identity = identity::ephemeral();
    let key = identity.public_key();
    let endpoint = bind(&hello, identity).map_err(|error| no_port(hello.ports.as_ref(), &error))?;
    let port = endpoint
        .local_addr()
        .map_err(|error| failed(&error.to_string()))?
        .port();
    let welcome = Welcome {
        key,
        port,
        address: arrived_at(),
        paths,
    };
    say(&welcome.format()).map_err(|error| failed(&error.to_string()))?;
    let service = CopyService::new(CopyLimits::default());
    tokio::select! {
        () = accept(&endpoint, &service, &access) => tracing::info!("nobody is connected: ending"),
        () = silence(&mut stdin) => {}
        stopped = run::stopped() => stopped?,
    }
    let ending = async {
        while service.running() > 0 {
            sleep(LOOK).await;
        }
    };
    let _ = timeout(END, ending).await;
    endpoint.close(close_code::DONE, b"the ssh session is over");
    let _ = timeout(END, endpoint.flushed()).await;
    Ok(())
}

fn failed(why: &str) -> Failure {
    Failure::new(ExitCode::Connect, why)
}

fn no_port(ports: Option<&Ports>, error: &io::Error) -> Failure {
    failed(&match ports {
        Some(Ports(ports)) => format!(
            "no UDP port of {} to {} is to be had here: {error}",
            ports.start(),
            ports.end()
        ),
        None => format!("no UDP port is to be had here: {error}"),
    })
}

/// What the near side says.
async fn listen(stdin: &mut Stdin) -> Result<Hello, Failure> {
    let mut lines = Lines::default();
    loop {
        // One by one: what comes behind the greeting is for others.
        let Ok(byte) = stdin.read_u8().await else {
            return Err(misunderstood(&lines.ended()));
        };
        let whole = lines.push(byte).map_err(|error| misunderstood(&error))?;
        if let Some(lines) = whole {
            return Hello::parse(&lines).map_err(|error| misunderstood(&error));
        }
    }
}

fn misunderstood(error: &GreetingError) -> Failure {
    let code = match error {
        GreetingError::Version(_) => ExitCode::Version,
        _ => ExitCode::Connect,
    };
    Failure::new(code, format!("the near side: {error}"))
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Listens on a port of those that are wanted.
fn bind(hello: &Hello, identity: Identity) -> io::Result<Endpoint> {
    let transport = TransportConfig::default()
        .policy(hello.policy)
        .max_rate(hello.rate)
        .send_buffer(WINDOW)
        .max_stream_credit(WINDOW)
        .max_connection_credit(WINDOW / 2 * 3);
    let verifier = Arc::new(OneKey(hello.key));
    let config = ServerConfig::new(Arc::new(identity), verifier, &[service::SERVICE]);
    let config = config.transport(transport);
    let mut failed = None;
    for port in in_turn(hello.ports.as_ref()) {
        // The first takes IPv4 as well; the second is for a system without IPv6.
        let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        for address in any {
            let local = SocketAddr::new(address, port);
            match Endpoint::bind(local, EndpointConfig::default(), Some(config.clone())) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => failed = Some(error),
            }
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// The ports, beginning anywhere: copies that start together then seldom want the same.
fn in_turn(ports: Option<&Ports>) -> Vec<u16> {
    let Some(Ports(ports)) = ports else {
        return vec![0];
    };
    let mut ports: Vec<_> = ports.clone().collect();
    let first = rand::random_range(0..ports.len());
    ports.rotate_left(first);
    ports
}

/// The address of this machine that ssh's connection arrived at: `SSH_CONNECTION` holds the client's address and port,
/// and ours.
fn arrived_at() -> Option<IpAddr> {
    let connection = env::var("SSH_CONNECTION").ok()?;
    let address = connection.split(' ').nth(2)?;
    // The interface of an address of the local link is ours, and says nothing elsewhere.
    address.split('%').next()?.parse().ok()
}

//= spec/20-copy.md#over-ssh
//# A far side to which no client has been connected for 60 seconds MUST end.
/// Serves whoever has the key; ends when nobody has been there for a while.
async fn accept(endpoint: &Endpoint, service: &CopyService, access: &Access) {
    let (mut arriving, mut connections) = (JoinSet::new(), JoinSet::new());
    let mut alone_since = Instant::now();
    loop {
        let rest = match connections.is_empty() {
            true => ALONE.saturating_sub(alone_since.elapsed()),
            false => Duration::MAX,
        };
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => drop(arriving.spawn(incoming.accept())),
                None => return,
            },
            Some(Ok(arrived)) = arriving.join_next() => match arrived {
                Ok(connection) if connections.len() < MOST_CONNECTIONS => {
                    let (service, access) = (service.clone(), access.clone());
                    connections.spawn(async move { service.serve(connection, access).await });
                }
                Ok(connection) => connection.close(close_code::TOO_MANY, b"one copy at a time"),
                Err(error) => tracing::info!(%error, "not let in"),
            },
            Some(_) = connections.join_next() => alone_since = Instant::now(),
            () = sleep(rest) => return,
        }
    }
}

//= spec/20-copy.md#over-ssh
//# A far side MUST end when the ssh session does.
/// Waits until the near side says nothing more.
async fn silence(stdin: &mut Stdin) {
    let mut said = [0; 64];
    while stdin.read(&mut said).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_has_its_turn() {
        let mut ports = in_turn(Some(&Ports(7..=12)));
        ports.sort_unstable();
        assert_eq!(ports, [7, 8, 9, 10, 11, 12]);
        assert_eq!(in_turn(None), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nobody_has_been_connected_for_a_minute() {
        //= spec/20-copy.md#over-ssh
        //= type=test
        //# A far side to which no client has been connected for 60 seconds MUST end.
        let hello = Hello {
            key: identity::ephemeral().public_key(),
            ports: None,
            policy: rp_protocol::config::Policy::Fair,
            rate: None,
            verbose: 0,
            places: Vec::new(),
        };
        let endpoint = bind(&hello, identity::ephemeral()).unwrap();
        let (access, paths) = places::open(&hello.places);
        assert!(paths.is_empty());
        let began = Instant::now();
        accept(&endpoint, &CopyService::default(), &access).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[test]
    fn one_key_is_let_in() {
        //= spec/20-copy.md#over-ssh
        //= type=test
        //# The far side MUST let in no key but the one that the client said.
        let key = identity::ephemeral().public_key();
        assert!(OneKey(key).verify(&key).is_ok());
        let other = identity::ephemeral().public_key();
        assert!(OneKey(key).verify(&other).is_err());
    }
}
