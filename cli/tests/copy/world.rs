//! A server in this process, a user's folder, and a way to run `rpcp` there.

use std::{
    collections::HashMap,
    fs,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rp_cli::{
    copy::service::{self, Access, CopyLimits, CopyService},
    identity, openssh,
    prompt::Nobody,
};
use rp_protocol::{
    Connection, Endpoint,
    config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig},
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Lets one key in.
#[derive(Debug)]
struct Only(PublicKey);

impl PeerVerifier for Only {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        match *key == self.0 {
            true => Ok(()),
            false => Err(PeerRejected("not on the list".to_owned())),
        }
    }
}

/// Lets every key in.
#[derive(Debug)]
struct Any;

impl PeerVerifier for Any {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// A folder for the user, a folder that is served, and a server for it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) port: u16,
    pub(crate) fingerprint: String,
    /// The server's key, as it stands in lists.
    pub(crate) host_key: String,
    pub(crate) endpoint: Endpoint,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::serving(false)
    }

    /// A server that soon gives up on clients that do nothing.
    pub(crate) fn impatient() -> Self {
        let folder = Self::folders();
        let access = Access::beneath(&folder.path().join("root"), false).unwrap();
        let access = access.silence(Duration::from_millis(500));
        Self::with(folder, access, CopyLimits::default())
    }

    pub(crate) fn serving(read_only: bool) -> Self {
        let folder = Self::folders();
        let access = Access::beneath(&folder.path().join("root"), read_only).unwrap();
        Self::with(folder, access, CopyLimits::default())
    }

    pub(crate) fn limited(limits: CopyLimits) -> Self {
        let folder = Self::folders();
        let access = Access::beneath(&folder.path().join("root"), false).unwrap();
        Self::with(folder, access, limits)
    }

    fn with(folder: TempDir, access: Access, limits: CopyLimits) -> Self {
        let service = CopyService::new(limits);
        Self::answering(folder, move |connection| {
            let (service, access) = (service.clone(), access.clone());
            async move { service.serve(connection, access).await }
        })
    }

    /// What is served and where the user is, both empty.
    pub(crate) fn folders() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "here"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        folder
    }

    /// A server of the copy service that does with each connection as `answer` says.
    pub(crate) fn answering<F>(
        folder: TempDir,
        answer: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::answering_for(folder, service::SERVICE, answer)
    }

    /// The same for another service.
    pub(crate) fn answering_for<F>(
        folder: TempDir,
        service: &str,
        answer: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::answering_as(folder, (service, Duration::from_secs(3)), answer)
    }

    /// The same, which takes a client for gone when it has been silent for `idle`.
    pub(crate) fn enduring<F>(
        folder: TempDir,
        idle: Duration,
        answer: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::answering_as(folder, (service::SERVICE, idle), answer)
    }

    fn answering_as<F>(
        folder: TempDir,
        (service, idle): (&str, Duration),
        answer: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Runtime::new().unwrap();
        let key = identity::load_or_make_host_key(&folder.path().join("id"), &Nobody).unwrap();
        let server = Arc::new(identity::ephemeral());
        let fingerprint = server.public_key().fingerprint();
        let host_key = openssh::format_key(&server.public_key());
        let verifier = Arc::new(Only(key.identity.public_key()));
        let transport = TransportConfig::default().idle_timeout(idle);
        let config = ServerConfig::new(server, verifier, &[service]).transport(transport);
        let guard = runtime.enter();
        let local = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::bind(local, EndpointConfig::default(), Some(config)).unwrap();
        drop(guard);
        let port = endpoint.local_addr().unwrap().port();
        let accepting = endpoint.clone();
        runtime.spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                if let Ok(connection) = incoming.accept().await {
                    tokio::spawn(answer(connection));
                }
            }
        });
        Self {
            folder,
            runtime,
            port,
            fingerprint,
            host_key,
            endpoint,
        }
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.folder.path().join("here").join(name)
    }

    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rp://127.0.0.1:{}/{path}", self.port)
    }

    /// `rpcp` with the user's key and the server's fingerprint, behind the word that stands first if it is a command.
    pub(crate) fn rpcp(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        let is_command = |word: &&str| ["ls", "rm", "mkdir"].contains(word);
        let (word, args) = args.split_at(usize::from(args.first().is_some_and(is_command)));
        command
            .args(word)
            .current_dir(self.folder.path().join("here"))
            .env("HOME", self.folder.path())
            .arg("-i")
            .arg(self.folder.path().join("id"))
            .args(["--host-key", &self.fingerprint])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs `rpcp` and expects it to end with `code`; gives what it printed.
    pub(crate) fn run(&self, code: i32, args: &[&str]) -> Output {
        expect(code, self.rpcp(args).output().unwrap())
    }

    /// A connection to the server, as the user, to say anything on.
    pub(crate) async fn connect(&self) -> Connection {
        let remote = self.endpoint.local_addr().unwrap();
        connect(self.folder.path(), remote).await
    }
}

/// A connection to `remote` with the key that is in `folder`.
pub(crate) async fn connect(folder: &Path, remote: SocketAddr) -> Connection {
    let key = identity::load_or_make_host_key(&folder.join("id"), &Nobody);
    let key = Arc::new(key.unwrap().identity);
    let config = ClientConfig::new(key, Arc::new(Any), service::SERVICE);
    let local = "127.0.0.1:0".parse().unwrap();
    let endpoint = Endpoint::bind(local, EndpointConfig::default(), None).unwrap();
    endpoint.connect(remote, config).await.unwrap()
}

/// Passes datagrams on between one client and the server, until it is cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    cut: Arc<Cut>,
    /// Bytes of datagrams in both directions.
    pub(crate) carried: Arc<AtomicU64>,
}

/// Whether a wire is cut.
#[derive(Default)]
struct Cut {
    is_cut: Mutex<bool>,
    told: Condvar,
}

impl Cut {
    fn cut(&self) {
        *self.is_cut.lock().unwrap() = true;
        self.told.notify_all();
    }

    /// Whether the wire is cut at `due`; waits until it is, or until then.
    fn by(&self, due: Instant) -> bool {
        let left = due.saturating_duration_since(Instant::now());
        let is_cut = self.is_cut.lock().unwrap();
        let waited = self
            .told
            .wait_timeout_while(is_cut, left, |is_cut| !*is_cut);
        *waited.unwrap().0
    }
}

impl Wire {
    pub(crate) fn to(world: &World) -> Self {
        Self::slow(world, Duration::ZERO)
    }

    /// Every datagram takes `delay` in each direction.
    pub(crate) fn slow(world: &World, delay: Duration) -> Self {
        Self::between(world.port, delay)
    }

    /// The same to the server at `port`.
    pub(crate) fn between(port_of_server: u16, delay: Duration) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = near.local_addr().unwrap().port();
        let cut = Arc::<Cut>::default();
        let server = SocketAddr::from(([127, 0, 0, 1], port_of_server));
        let carried = Arc::<AtomicU64>::default();
        let count = Arc::clone(&carried);
        let whole = Arc::clone(&cut);
        thread::spawn(move || {
            let mut known = HashMap::new();
            let mut datagram = [0; 65536];
            // A socket to the server for each client, so that each is another address to it.
            while let Ok((length, client)) = near.recv_from(&mut datagram) {
                count.fetch_add(length as u64, Ordering::Relaxed);
                let to_server = known.entry(client).or_insert_with(|| {
                    let far = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                    far.connect(server).unwrap();
                    let (from, near) = (Arc::clone(&far), Arc::clone(&near));
                    let count = Arc::clone(&count);
                    let to_client = Self::carry(delay, &whole, move |datagram| {
                        let _ = near.send_to(datagram, client);
                    });
                    thread::spawn(move || {
                        let mut datagram = [0; 65536];
                        // A server that is being restarted refuses what is sent to it.
                        loop {
                            let Ok(length) = from.recv(&mut datagram) else {
                                continue;
                            };
                            count.fetch_add(length as u64, Ordering::Relaxed);
                            let _ = to_client.send((Instant::now(), datagram[..length].to_vec()));
                        }
                    });
                    Self::carry(delay, &whole, move |datagram| {
                        // A full socket buffer is a lost datagram, as anywhere.
                        let _ = far.send(datagram);
                    })
                });
                let _ = to_server.send((Instant::now(), datagram[..length].to_vec()));
            }
        });
        Self { port, cut, carried }
    }

    /// Hands datagrams to `send`, each `delay` after its time, until the wire is cut.
    fn carry(
        delay: Duration,
        cut: &Arc<Cut>,
        send: impl Fn(&[u8]) + Send + 'static,
    ) -> Sender<(Instant, Vec<u8>)> {
        let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
        let cut = Arc::clone(cut);
        thread::spawn(move || {
            for (sent, datagram) in receiver {
                if !cut.by(sent + delay) {
                    send(&datagram);
                }
            }
        });
        sender
    }

    /// From here on nothing arrives, as when a machine loses its power.
    pub(crate) fn cut(&self) {
        self.cut.cut();
    }
}

pub(crate) fn expect(code: i32, output: Output) -> Output {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(b"rpcp").finalize_xof();
    let mut bytes = vec![0; size];
    reader.fill(&mut bytes);
    bytes
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// `command` started by `strace`, which has its own arguments already.
pub(crate) fn before(strace: Command, command: &Command) -> Command {
    let mut strace = strace;
    strace.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(Stdio::null());
    strace
}
