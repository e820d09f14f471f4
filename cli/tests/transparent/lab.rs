//! Three network namespaces in a row, and programs and sockets inside them:
//!
//! ```text
//! lan -- 10.77.0.0/24, fd77::/64 -- near -- 198.51.100.0/24, 2001:db8:51::/64 -- far
//! ```
//!
//! `rpclient` runs in `near`, `rpserver` in `far`, where the targets have addresses of their own.
//! A namespace has no name: it ends with the last process inside, also after a killed test.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use rp_cli::{identity, openssh, prompt::Nobody};
use rustix::{
    process::geteuid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tempfile::TempDir;

use crate::world::{Running, has};

/// Where `rpserver` listens.
pub(crate) const SERVER: &str = "198.51.100.2:7377";
/// Addresses of targets, one of each family.
pub(crate) const TARGETS: [&str; 2] = ["203.0.113.10", "2001:db8:113::10"];

/// An address of the far network that the exit may dial and nobody in front of it can reach.
pub(crate) const INSIDE: &str = "10.9.9.9";

/// Longest wait for bytes that should come.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Says why a test that needs namespaces and netfilter proves nothing here.
pub(crate) fn skipped(test: &str) -> bool {
    let reason = if !geteuid().is_root() {
        Some("needs root")
    } else if !has("nft") || Command::new("ip").arg("-V").output().is_err() {
        Some("the programs `nft` and `ip` are missing (packages nftables, iproute2)")
    } else {
        (!can_unshare()).then_some("no network namespace can be made")
    };
    if let Some(reason) = reason {
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}

fn can_unshare() -> bool {
    let tried = Command::new("unshare").args(["--net", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

/// A namespace that lives as long as this value.
pub(crate) struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A byte on its output: the namespace is there.
        let output = holder.stdout.as_mut().unwrap();
        output.read_exact(&mut [0]).unwrap();
        Self(holder)
    }

    fn handle(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A command that will run `program` inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.handle()));
        command.args(["setsid", "--wait", program]);
        command
    }

    /// Runs a shell script inside, which must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.try_sh(script);
        let errors = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{script}: {errors}");
        String::from_utf8(stdout).unwrap()
    }

    /// Runs a shell script inside.
    pub(crate) fn try_sh(&self, script: &str) -> Output {
        let mut command = self.command("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs `work` on a thread inside: the sockets it makes belong there for ever.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(self.handle()).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(handle.as_fd(), kind).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    pub(crate) fn connect(&self, target: SocketAddr) -> std::io::Result<TcpStream> {
        let tcp = self.run(|| TcpStream::connect_timeout(&target, READ_TIMEOUT))?;
        tcp.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(tcp)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespaces, and an `rpserver` in `far`.
pub(crate) struct Lab {
    pub(crate) lan: Namespace,
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
    pub(crate) folder: TempDir,
    fingerprint: String,
    _server: Running,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let [lan, near, far] = [Namespace::new(), Namespace::new(), Namespace::new()];
        let of = |namespace: &Namespace| namespace.0.id().to_string();
        near.sh(&format!(
            "ip link add wan0 type veth peer name eth0 netns {}
             ip link add lan0 type veth peer name eth0 netns {}
             ip link set wan0 addrgenmode none; ip link set lan0 addrgenmode none
             ip addr add 198.51.100.1/24 dev wan0
             ip addr add 2001:db8:51::1/64 dev wan0 nodad
             ip addr add 10.77.0.1/24 dev lan0
             ip addr add fd77::1/64 dev lan0 nodad
             ip link set wan0 up; ip link set lan0 up
             ip route add default via 198.51.100.2
             ip route add default via 2001:db8:51::2",
            of(&far),
            of(&lan)
        ));
        far.sh(&format!(
            "ip link set eth0 addrgenmode none
             ip addr add 198.51.100.2/24 dev eth0
             ip addr add 2001:db8:51::2/64 dev eth0 nodad
             ip addr add {}/32 dev eth0; ip addr add {INSIDE}/32 dev lo
             ip addr add {}/128 dev eth0 nodad
             ip link set eth0 up",
            TARGETS[0], TARGETS[1]
        ));
        lan.sh("ip addr add 10.77.0.2/24 dev eth0
             ip addr add fd77::2/64 dev eth0 nodad
             ip link set eth0 up
             ip route add default via 10.77.0.1
             ip route add default via fd77::1");
        let (server, folder, fingerprint) = start_server(&far);
        Self {
            lan,
            near,
            far,
            folder,
            fingerprint,
            _server: server,
        }
    }

    /// `rpclient` in `near` with what it needs to reach the server.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        self.client_in(&self.near, env!("CARGO_BIN_EXE_rpclient"), args)
    }

    /// The same in another namespace, where `program` is `rpclient` or becomes it.
    pub(crate) fn client_in(&self, inside: &Namespace, program: &str, args: &[&str]) -> Command {
        let mut command = inside.command(program);
        command.env("HOME", self.folder.path());
        command.args(args).args(["--server", SERVER]);
        command.args(["--host-key", &self.fingerprint]);
        command.arg("-i").arg(self.folder.path().join("id"));
        command
    }

    /// A target in `far` at the address `ip` that answers each connection by `serve`.
    pub(crate) fn target(
        &self,
        ip: &str,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> SocketAddr {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let listener = self.far.run(|| TcpListener::bind(address).unwrap());
        let address = listener.local_addr().unwrap();
        thread::spawn(move || listener.incoming().for_each(|tcp| serve(tcp.unwrap())));
        address
    }
}

fn start_server(far: &Namespace) -> (Running, TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = identity::load_or_make_host_key(&folder.path().join("id"), &Nobody).unwrap();
    let line = openssh::format_key(&key.identity.public_key());
    fs::write(folder.path().join("authorized_keys"), line + "\n").unwrap();
    let mut command = far.command(env!("CARGO_BIN_EXE_rpserver"));
    command.env("HOME", folder.path());
    command.args(["--listen", SERVER]);
    command.arg("--key").arg(folder.path().join("host_key"));
    command
        .arg("--authorized-keys")
        .arg(folder.path().join("authorized_keys"));
    for ip in TARGETS.iter().chain([&INSIDE]) {
        command.args(["--allow", ip]);
    }
    command.args(["--permit-listen", "*:40000-40999"]);
    let mut server = Running::start(command);
    let fingerprint = server.said("host key ");
    let fingerprint = fingerprint.split(' ').next().unwrap().to_owned();
    server.said("listening on ");
    (server, folder, fingerprint)
}

/// Says the address of whoever connected, then sends back what comes.
pub(crate) fn echo(mut tcp: TcpStream) {
    thread::spawn(move || {
        let peer = tcp.peer_addr().unwrap().ip();
        let _ = writeln!(tcp, "{peer}");
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = tcp.read(&mut buffer) {
            if tcp.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
    });
}
