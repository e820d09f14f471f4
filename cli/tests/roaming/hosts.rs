//! Two hosts: a server, and a client with two links to the server's router. They are network namespaces;
//! what runs in them stands in the tests.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Why there are no namespaces here, in words for the user; `None` if there are.
pub(crate) fn unavailable() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        Some("needs root")
    } else if ip(&["-V"]).is_err() {
        Some("the program `ip` is missing (package iproute2)")
    } else {
        None
    }
}

/// A network namespace that lives as long as this value.
pub(crate) struct Namespace(String);

impl Namespace {
    /// Named as the lab names its own, so that `lab clean` removes what a killed test leaves.
    fn create(label: &str) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let started = stat.split(' ').nth(21).unwrap();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let namespace = Self(format!("rplab-{process}-{started}-{serial}-{label}"));
        ip(&["netns", "add", &namespace.0]).unwrap();
        namespace.ip("link set lo up");
        namespace
    }

    fn ip(&self, arguments: &str) {
        let inside = ["-n", &self.0].into_iter().chain(arguments.split(' '));
        ip(&inside.collect::<Vec<_>>()).unwrap();
    }

    /// `command`, as it is run on the inside.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.0]);
        inside.arg(command.get_program()).args(command.get_args());
        inside.env_clear();
        let set = command.get_envs();
        inside.envs(set.filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// What `work` makes on a thread of its own; its sockets belong to the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(format!("/run/netns/{}", self.0)).unwrap();
        let enter_and_work = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(handle.as_fd(), network).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(enter_and_work).join().unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// Both hosts, and the links between them: `first` is in use, `second` is not.
pub(crate) struct Hosts {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

impl Hosts {
    /// Where the server is, whichever link leads there.
    pub(crate) const SERVER: &str = "192.0.2.1";

    pub(crate) fn new() -> Self {
        let (client, server) = (Namespace::create("client"), Namespace::create("server"));
        server.ip(&format!("addr add {}/32 dev lo", Self::SERVER));
        for (link, subnet) in [("first", "10.77.1"), ("second", "10.77.2")] {
            let peer = &server.0;
            client.ip(&format!(
                "link add {link} type veth peer name {link} netns {peer}"
            ));
            for (host, address) in [(&client, 2), (&server, 1)] {
                host.ip(&format!("addr add {subnet}.{address}/24 dev {link}"));
                host.ip(&format!("link set {link} up"));
            }
        }
        client.ip("route add default via 10.77.1.1");
        Self { client, server }
    }

    /// The client has another address in the same network: a new lease.
    pub(crate) fn change_address(&self) {
        self.client.ip("addr del 10.77.1.2/24 dev first");
        self.client.ip("addr add 10.77.1.3/24 dev first");
        self.client.ip("route replace default via 10.77.1.1");
    }

    /// The client's interface is gone, and another is the way to the server: a cable that was pulled.
    pub(crate) fn change_link(&self) {
        self.client.ip("link del first");
        self.client.ip("route replace default via 10.77.2.1");
    }
}

/// Runs `ip`; a failure carries what it said.
fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let arguments = arguments.join(" ");
    Err(io::Error::other(format!("`ip {arguments}`: {said}")))
}
