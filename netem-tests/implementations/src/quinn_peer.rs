//! One end of a transfer over QUIC by quinn. The receiver prints lines of "bytes nanoseconds" (monotonic
//! clock) as they come in, the last for the last byte. Starting and watching it is the lab's matter.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use quinn::{
    Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt,
    congestion::{BbrConfig, CubicConfig},
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::net::{TcpListener, TcpStream};

/// A pair of ends that trust each other without a file between them.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Take bytes and tell how many have arrived when
    Recv {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        bytes: u64,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Send bytes on one stream
    Send {
        host: IpAddr,
        port: u16,
        bytes: u64,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Take TCP connections and carry each on a stream of one connection to an exit
    Front {
        #[arg(long)]
        port: u16,
        exit: SocketAddr,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Dial a target for each stream
    Exit {
        #[arg(long)]
        port: u16,
        target: SocketAddr,
        #[command(flatten)]
        tuning: Tuning,
    },
    /// Say which quinn this is
    Version,
}

#[derive(clap::Args)]
struct Tuning {
    /// Stream and connection windows and socket buffers, in bytes
    #[arg(long)]
    window: u32,
    #[arg(long, value_enum)]
    congestion: Congestion,
}

#[derive(Clone, Copy, ValueEnum)]
enum Congestion {
    Bbr,
    Cubic,
}

const BLOCK: usize = 1 << 18;
const TALLY_NS: u64 = 20_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().role {
        Role::Recv {
            port,
            bytes,
            tuning,
        } => receive(port, bytes, &tuning).await,
        Role::Send {
            host,
            port,
            bytes,
            tuning,
        } => send(SocketAddr::new(host, port), bytes, &tuning).await,
        Role::Front { port, exit, tuning } => front(port, exit, &tuning).await,
        Role::Exit {
            port,
            target,
            tuning,
        } => dial(port, target, &tuning).await,
        Role::Version => {
            println!("quinn {}", quinn_version());
            Ok(())
        }
    }
}

async fn receive(port: u16, bytes: u64, tuning: &Tuning) -> anyhow::Result<()> {
    let endpoint = tuning.server(port)?;
    let connection = endpoint.accept().await.context("closed")?.await?;
    let mut stream = connection.accept_uni().await?;
    let (mut arrived, mut told) = (0, 0);
    while arrived < bytes {
        // In any order, as a copy of a file may: in order, quinn-proto ends connections that have more
        // than 1024 gaps, which these windows reach (quinn issue 2809).
        let chunk = stream
            .read_chunk(BLOCK, false)
            .await?
            .context("too short")?;
        arrived += chunk.bytes.len() as u64;
        let now = monotonic_ns();
        if arrived >= bytes || now >= told + TALLY_NS {
            told = now;
            println!("{arrived} {now}");
        }
    }
    finish(&connection).await;
    Ok(())
}

/// Lets the other end learn that all has arrived.
async fn finish(connection: &Connection) {
    // Its leaving is the answer; without one the lab's limit strikes.
    let _ = tokio::time::timeout(Duration::from_secs(2), connection.closed()).await;
}

async fn send(to: SocketAddr, bytes: u64, tuning: &Tuning) -> anyhow::Result<()> {
    let (endpoint, connection) = tuning.connect(to).await?;
    let mut stream = connection.open_uni().await?;
    let block = vec![0x5a; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        stream.write_all(&block[..len]).await?;
        left -= len as u64;
    }
    stream.finish()?;
    stream.stopped().await?;
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    Ok(())
}

/// Carries TCP connections to an exit until killed.
async fn front(port: u16, exit: SocketAddr, tuning: &Tuning) -> anyhow::Result<()> {
    let (_endpoint, connection) = tuning.connect(exit).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (near, _) = listener.accept().await?;
        let connection = connection.clone();
        tokio::spawn(async move {
            let far = connection.open_bi().await?;
            relay(near, far).await
        });
    }
}

async fn dial(port: u16, target: SocketAddr, tuning: &Tuning) -> anyhow::Result<()> {
    let endpoint = tuning.server(port)?;
    let connection = endpoint.accept().await.context("closed")?.await?;
    loop {
        let far = connection.accept_bi().await?;
        tokio::spawn(async move {
            let near = TcpStream::connect(target).await?;
            relay(near, far).await
        });
    }
}

/// Both directions until both ends are done; whoever is cut off notices.
async fn relay(
    near: TcpStream,
    (send, receive): (quinn::SendStream, quinn::RecvStream),
) -> anyhow::Result<()> {
    near.set_nodelay(true)?;
    let (mut near, mut far) = (near, tokio::io::join(receive, send));
    let size = 1 << 16;
    tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, size, size).await?;
    Ok(())
}

impl Tuning {
    fn server(&self, port: u16) -> anyhow::Result<Endpoint> {
        let (certificate, key) = identity()?;
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let crypto = Arc::new(QuicServerConfig::try_from(tls)?);
        let mut config = quinn::ServerConfig::with_crypto(crypto);
        config.transport_config(self.transport());
        self.endpoint(port, Some(config))
    }

    async fn connect(&self, to: SocketAddr) -> anyhow::Result<(Endpoint, Connection)> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(self.transport());
        let endpoint = self.endpoint(0, None)?;
        let connection = endpoint.connect_with(config, to, NAME)?.await?;
        Ok((endpoint, connection))
    }

    fn transport(&self) -> Arc<TransportConfig> {
        let window = VarInt::from_u32(self.window);
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(window)
            .receive_window(window)
            .send_window(self.window.into());
        match self.congestion {
            Congestion::Bbr => {
                transport.congestion_controller_factory(Arc::new(BbrConfig::default()))
            }
            Congestion::Cubic => {
                transport.congestion_controller_factory(Arc::new(CubicConfig::default()))
            }
        };
        Arc::new(transport)
    }

    fn endpoint(&self, port: u16, server: Option<quinn::ServerConfig>) -> anyhow::Result<Endpoint> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        let size = usize::try_from(self.window)?;
        let options = socket2::SockRef::from(&socket);
        options.set_recv_buffer_size(size)?;
        options.set_send_buffer_size(size)?;
        let runtime = Arc::new(TokioRuntime);
        Ok(Endpoint::new(
            EndpointConfig::default(),
            server,
            socket,
            runtime,
        )?)
    }
}

const NAME: &str = "lab";

/// Fresh in every run.
fn identity() -> anyhow::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((made.cert.der().clone(), key.into()))
}

/// Takes any certificate: both ends are the lab's, and no file passes between them. Signatures are
/// checked as ever, so that the handshake costs what it costs.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The version that the lock file fixes.
fn quinn_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let (_, rest) = lock
        .split_once("name = \"quinn\"\nversion = \"")
        .unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
