//! One connection over loopback, as fast as it goes: Gbit/s, sizes of GSO and GRO batches, CPU per GB.
//! A yardstick for profiling the driver and the engine, not a claim about networks.
//!
//! `cargo run --release --example throughput -- [SECONDS] [fair|cubic|MBIT/S] [shared|split]`:
//! `shared` (the default) runs both ends on one runtime of two threads, `split` each on one of its own.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures time and prints what it finds"
)]

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rp_protocol::{
    Connection, Endpoint, EndpointStats,
    config::{ClientConfig, EndpointConfig, Policy, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    units::{Bandwidth, CloseCode},
};
use tokio::runtime::Runtime;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SERVICE: &str = "throughput/1";
/// What the application writes and reads at once.
const BLOCK_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Anybody;

impl PeerVerifier for Anybody {
    fn verify(&self, _: &PublicKey) -> std::result::Result<(), PeerRejected> {
        Ok(())
    }
}

struct Options {
    seconds: u64,
    policy: Policy,
    split: bool,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut options = Self {
            seconds: 5,
            policy: Policy::Fair,
            split: false,
        };
        let mut args = std::env::args().skip(1);
        if let Some(seconds) = args.next() {
            options.seconds = seconds.parse()?;
        }
        match args.next().as_deref() {
            None | Some("fair") => {}
            Some("cubic") => options.policy = Policy::Cubic,
            Some(megabits) => {
                let bits = megabits.parse::<u64>()?.saturating_mul(1_000_000);
                options.policy = Policy::Fixed(Bandwidth::from_bits_per_second(bits));
            }
        }
        options.split = args.next().as_deref() == Some("split");
        Ok(options)
    }

    fn transport(&self) -> TransportConfig {
        TransportConfig::default().policy(self.policy)
    }
}

fn main() -> Result<()> {
    let options = Options::parse()?;
    if options.split {
        let (near, far) = (runtime(1)?, runtime(1)?);
        measure(&options, &near, &far)
    } else {
        let both = runtime(2)?;
        measure(&options, &both, &both)
    }
}

fn runtime(threads: usize) -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?)
}

fn measure(options: &Options, near: &Runtime, far: &Runtime) -> Result<()> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = {
        let _runtime = far.enter();
        let identity = Arc::new(Identity::from_seed(&[1; 32]));
        let config = ServerConfig::new(identity, Arc::new(Anybody), &[SERVICE])
            .transport(options.transport());
        Endpoint::bind(local, EndpointConfig::default(), Some(config))?
    };
    let client = {
        let _runtime = near.enter();
        Endpoint::bind(local, EndpointConfig::default(), None)?
    };
    let remote = server.local_addr()?;
    let sink = far.spawn(receive(server.clone()));
    let identity = Arc::new(Identity::from_seed(&[2; 32]));
    let config =
        ClientConfig::new(identity, Arc::new(Anybody), SERVICE).transport(options.transport());
    let cpu = cpu_seconds();
    let start = Instant::now();
    let source = near.spawn({
        let client = client.clone();
        let duration = Duration::from_secs(options.seconds);
        async move {
            let connection = client.connect(remote, config).await?;
            send(&connection, duration).await?;
            println!("{:#?}", connection.stats());
            connection.close(CloseCode::default(), b"done");
            client.wait_idle().await;
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }
    });
    near.block_on(source)??;
    let bytes = far.block_on(sink)??;
    let seconds = start.elapsed().as_secs_f64();
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "{:.2} Gbit/s over {seconds:.1} s",
        gigabytes * 8.0 / seconds
    );
    println!(
        "{:.2} CPU seconds per GB, both ends",
        (cpu_seconds() - cpu) / gigabytes
    );
    report("client", &client.stats());
    report("server", &server.stats());
    Ok(())
}

async fn send(connection: &Connection, duration: Duration) -> Result<()> {
    let block = Bytes::from(vec![0x5a; BLOCK_BYTES]);
    let mut stream = connection.open_uni().await?;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        stream.write_bytes(block.clone()).await?;
    }
    stream.finish()?;
    stream.finished().await?;
    Ok(())
}

async fn receive(server: Endpoint) -> Result<u64> {
    let incoming = server.accept().await.ok_or("endpoint closed")?;
    let connection = incoming.accept().await?;
    let mut stream = connection.accept_uni().await?;
    let mut total = 0;
    let mut second = 0;
    let mut start = Instant::now();
    while let Some(data) = stream.read_bytes(BLOCK_BYTES).await? {
        total += data.len() as u64;
        second += data.len();
        if start.elapsed() >= Duration::from_secs(1) {
            println!(
                "{:.2} Gbit/s",
                second as f64 * 8e-9 / start.elapsed().as_secs_f64()
            );
            start = Instant::now();
            second = 0;
        }
    }
    connection.closed().await;
    Ok(total)
}

fn report(name: &str, stats: &EndpointStats) {
    let per = |count: u64, calls: u64| count as f64 / calls.max(1) as f64;
    println!(
        "{name}: {:.1} datagrams of {:.0} bytes per send, {:.1} of {:.0} per receive buffer, \
         {:.1} buffers per receive; {} send errors, {} refusals, {} dropped behind",
        per(stats.sent_datagrams, stats.send_calls),
        per(stats.sent_bytes, stats.sent_datagrams),
        per(stats.received_datagrams, stats.receive_batches),
        per(stats.received_bytes, stats.received_datagrams),
        per(stats.receive_batches, stats.receive_calls),
        stats.send_errors,
        stats.segmentation_refusals,
        stats.inbox_drops,
    );
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 * 1e-9
}
