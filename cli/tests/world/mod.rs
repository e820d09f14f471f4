//! A real `rpserver` and `rpclient` with keys of their own, and small targets. What is asked of them
//! stands in the tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test program uses its own part; helpers fail the test that calls them"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use rp_cli::{identity, openssh, prompt::Nobody};
use tempfile::TempDir;

/// A program that runs, and the lines it has said.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// What stands behind `label` on the next line that begins with it.
    pub(crate) fn said(&mut self, label: &str) -> String {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                let mut stderr = self.child.stderr.take().unwrap();
                stderr.read_to_string(&mut errors).unwrap();
                panic!("ended before it said {label}: {errors}");
            }
            if let Some(rest) = line.strip_prefix(label) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// The next line of its log that has `words`.
    pub(crate) fn logged(&mut self, words: &str) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let (mut lines, mut line) = (String::new(), Vec::new());
        loop {
            let mut byte = [0];
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "no {words} in {lines}");
            line.push(byte[0]);
            if byte == *b"\n" {
                let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                if text.contains(words) {
                    return text;
                }
                lines += &text;
            }
        }
    }
}

impl Running {
    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a user's key, and a server that lets it in.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) server: Running,
    pub(crate) address: String,
    pub(crate) fingerprint: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::serving(&["--allow", "127.0.0.0/8"])
    }

    pub(crate) fn serving(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = identity::load_or_make_host_key(&folder.path().join("id"), &Nobody).unwrap();
        let line = openssh::format_key(&key.identity.public_key());
        fs::write(folder.path().join("authorized_keys"), line + "\n").unwrap();
        let mut server = Self::server(&folder, "127.0.0.1:0", args);
        let fingerprint = server.said("host key ");
        let fingerprint = fingerprint.split(' ').next().unwrap().to_owned();
        let address = server.said("listening on ");
        Self {
            folder,
            server,
            address,
            fingerprint,
        }
    }

    /// A second server that lets in whom the first does, its address and its fingerprint.
    pub(crate) fn another_server(&self) -> (Running, String, String) {
        let mut command = program("rpserver", &self.folder);
        command.args(["--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8"]);
        command.arg("--key").arg(self.path("another_host_key"));
        command
            .arg("--authorized-keys")
            .arg(self.path("authorized_keys"));
        let mut server = Running::start(command);
        let fingerprint = server.said("host key ");
        let fingerprint = fingerprint.split(' ').next().unwrap().to_owned();
        let address = server.said("listening on ");
        (server, address, fingerprint)
    }

    fn server(folder: &TempDir, address: &str, args: &[&str]) -> Running {
        let mut command = program("rpserver", folder);
        command.args(["--listen", address]);
        command.arg("--key").arg(folder.path().join("host_key"));
        command
            .arg("--authorized-keys")
            .arg(folder.path().join("authorized_keys"));
        command.args(args);
        Running::start(command)
    }

    /// Starts the server again, at its old address, after it has ended.
    pub(crate) fn start_server(&mut self) {
        self.start_server_with(&["--allow", "127.0.0.0/8"]);
    }

    /// The same with `args`.
    pub(crate) fn start_server_with(&mut self, args: &[&str]) {
        self.server = Self::server(&self.folder, &self.address, args);
        self.server.said("listening on ");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rpclient` with everything it needs to reach the server.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = self.bare_client(args);
        command.args(["--host-key", &self.fingerprint]);
        command
    }

    /// `rpclient` that does not know the server's key.
    pub(crate) fn bare_client(&self, args: &[&str]) -> Command {
        let mut command = program("rpclient", &self.folder);
        command.args(args);
        command.args(["--server", &self.address, "--listen", "127.0.0.1:0"]);
        command.arg("-i").arg(self.path("id"));
        command
    }

    pub(crate) fn proxy(&self) -> (Running, String) {
        let mut client = Running::start(self.client(&[]));
        let proxy = client.said("listening on ");
        (client, proxy)
    }
}

/// A program of ours, away from the settings of whoever runs the tests and from any terminal.
pub(crate) fn program(name: &str, folder: &TempDir) -> Command {
    let path = match name {
        "rpserver" => env!("CARGO_BIN_EXE_rpserver"),
        _ => env!("CARGO_BIN_EXE_rpclient"),
    };
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(path);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder.path());
    // Control sockets: root's programs would put them where those of the system are.
    command.env("RUNTIME_DIRECTORY", folder.path().join("run"));
    command
}

pub(crate) fn ends_with(mut command: Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{text}");
    text
}

/// A web server with one answer.
pub(crate) fn web(body: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = BufReader::new(tcp.unwrap());
            let mut line = String::new();
            while tcp.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = tcp.get_mut().write_all(&[head.as_bytes(), body].concat());
        }
    });
    addr
}

/// A target that hands each connection to `serve`.
pub(crate) fn target(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(|tcp| serve(tcp.unwrap())));
    addr
}

/// Makes dropping `tcp` send a reset.
pub(crate) fn reset_on_drop(tcp: &TcpStream) {
    let none = rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO));
    none.unwrap();
}

/// A connection to `target` through the SOCKS5 port at `proxy`.
pub(crate) fn socks5(proxy: &str, target: SocketAddr) -> TcpStream {
    let SocketAddr::V4(target) = target else {
        panic!("an IPv4 target");
    };
    let mut tcp = TcpStream::connect(proxy).unwrap();
    let mut request = vec![5, 1, 0, 5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    tcp.write_all(&request).unwrap();
    let mut reply = [0; 12];
    tcp.read_exact(&mut reply).unwrap();
    assert_eq!(reply[3], 0, "SOCKS reply");
    tcp
}

pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// What `command` makes of `input`.
pub(crate) fn output(mut command: Command, input: &'static [u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Nobody takes all of it where the target answers early.
    let writing = thread::spawn(move || drop(stdin.write_all(input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}
