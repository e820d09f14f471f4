//! Arguments of `rpclient`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use super::{
    Common, StatusArgs,
    tproxy::{SetupArgs, TeardownArgs},
};

/// Gives unmodified software an HTTP and SOCKS proxy whose far end is an rpserver.
#[derive(Debug, Parser)]
#[command(
    name = "rpclient",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = false
)]
pub struct ClientArgs {
    /// Whom to connect to and how.
    #[command(flatten)]
    pub options: ClientOptions,
    /// How to run.
    #[command(flatten)]
    pub common: Common,
    /// Something else than serving the proxy port.
    #[command(subcommand)]
    pub command: Option<ClientCommand>,
}

/// What else `rpclient` does.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Connect standard input and output to HOST:PORT, seen from the server:
    /// ssh -o ProxyCommand='rpclient connect %h %p'
    Connect {
        /// Name or address of the target.
        host: String,
        /// Its TCP port.
        port: u16,
    },
    /// Look for what makes transfers slow or impossible, here and on the way to the server
    Doctor,
    /// Tell the numbers of the running rpclient
    Status(StatusArgs),
    /// Have the kernel divert traffic to the rpclient that runs, so that programs need no proxy setting
    TproxySetup(SetupArgs),
    /// Undo tproxy-setup, also one that was killed half-way
    TproxyTeardown(TeardownArgs),
    /// Change the forwards of the running rpclient: forward add -L 8080:web.example:80
    Forward {
        /// What to do with them.
        #[command(subcommand)]
        what: ForwardCommand,
    },
}

/// What can be done with forwards.
#[derive(Clone, Debug, Subcommand)]
pub enum ForwardCommand {
    /// Begin those that -L and -R name
    Add,
    /// End those that -L and -R name; bind address and port, or the socket's path, are enough
    Remove,
    /// Tell all of them, and how each is
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Options of `rpclient` that a settings file may hold too.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientOptions {
    /// Server to go through; the port is 7377 if none is given. Of several the next takes over when one
    /// does not answer
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        env = "RPCLIENT_SERVER",
        value_delimiter = ',',
        global = true
    )]
    #[serde(with = "super::one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub server: Vec<String>,

    /// Which of several servers is preferred: the first given, the fastest to answer, or a random one
    /// (given, fastest, random) [default: given]
    #[arg(
        long,
        value_name = "ORDER",
        env = "RPCLIENT_SERVER_ORDER",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_order: Option<String>,

    /// Fingerprint of the server's key, as rpserver prints it; known_hosts is not asked then. Of several,
    /// one for each server
    #[arg(
        long,
        value_name = "SHA256:...",
        env = "RPCLIENT_HOST_KEY",
        value_delimiter = ',',
        global = true
    )]
    #[serde(with = "super::one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub host_key: Vec<String>,

    /// Keys of known servers [default: known_hosts in ~/.config/rapidpath]
    #[arg(long, value_name = "FILE", env = "RPCLIENT_KNOWN_HOSTS", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,

    /// Our private key, in OpenSSH format [default: ~/.ssh/id_ed25519]
    #[arg(
        short,
        long,
        value_name = "KEY",
        env = "RPCLIENT_IDENTITY",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,

    /// TCP address of the proxy, HTTP, SOCKS4, SOCKS4a and SOCKS5 on one port: ADDR:PORT, NAME:PORT,
    /// or :PORT for all addresses [default: 127.0.0.1:1080]
    #[arg(long, value_name = "ADDR:PORT", env = "RPCLIENT_LISTEN", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,

    /// TCP addresses to which netfilter's REDIRECT brings connections of programs without a proxy
    /// setting; localhost:PORT is IPv4 and IPv6. See tproxy-setup
    #[arg(
        long,
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        env = "RPCLIENT_TRANSPARENT",
        global = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transparent: Vec<String>,

    /// TCP and UDP addresses to which netfilter's TPROXY brings them; needs CAP_NET_ADMIN or
    /// CAP_NET_RAW, and CAP_NET_BIND_SERVICE for answers by UDP. See tproxy-setup
    #[arg(
        long,
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        env = "RPCLIENT_TPROXY",
        global = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tproxy: Vec<String>,

    /// Ports whose diverted connections are followed as FTP control connections [default: 21]
    #[arg(long, value_name = "PORTS", env = "RPCLIENT_FTP_PORTS", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ftp_ports: Option<String>,

    /// File with lines of USER:PASSWORD that the proxy's clients must know
    #[arg(long, value_name = "FILE", env = "RPCLIENT_PROXY_USERS", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_users: Option<PathBuf>,

    /// Say success to SOCKS and CONNECT clients before the target is dialled, for these ports (443,8000-8999)
    /// or all: a round trip less, and a dial that fails is then a reset
    #[arg(
        long,
        value_name = "PORTS",
        env = "RPCLIENT_OPTIMISTIC",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimistic: Option<String>,

    /// Listen on PORT here, on loopback unless BIND or * is before it, and carry what comes to HOST:PORT,
    /// seen from the server; /udp behind it is for datagrams; either side may be the path of a Unix socket
    /// instead; may be given again
    #[arg(
        short = 'L',
        long,
        value_name = "[BIND:]PORT:HOST:PORT[/udp]",
        env = "RPCLIENT_LOCAL_FORWARD",
        value_delimiter = ',',
        global = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_forward: Vec<String>,

    /// Have the server listen on PORT, and carry what comes there to HOST:PORT, seen from here; written as
    /// for -L; the server has to permit it (rpserver --permit-listen, or permitlisten in its authorized_keys)
    #[arg(
        short = 'R',
        long,
        value_name = "[BIND:]PORT:HOST:PORT[/udp]",
        env = "RPCLIENT_REMOTE_FORWARD",
        value_delimiter = ',',
        global = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_forward: Vec<String>,

    /// Address that SOCKS5 clients are told to send their datagrams to, where a NAT is between them and us
    /// [default: the one they have reached us at]
    #[arg(
        long,
        value_name = "IP",
        env = "RPCLIENT_UDP_REPLY_ADDRESS",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_reply_address: Option<String>,

    /// How the rate is decided: fair shares the path, low gives way to everybody else, fixed sends at --rate whatever
    /// happens [default: fair]
    #[arg(long, value_name = "POLICY", env = "RPCLIENT_POLICY", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,

    /// Most to send: 500M, 1.5G, 25MB/s, 200Mbit; a bare number is bits per second
    #[arg(long, value_name = "RATE", env = "RPCLIENT_RATE", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,

    /// Tell the server where the clients of this proxy are, for targets that it tells by the PROXY protocol; the
    /// server believes what this key's line in its authorized_keys allows (proxy-source="10.0.0.0/8")
    #[arg(long, env = "RPCLIENT_TELL_SOURCE", global = true)]
    pub tell_source: bool,

    /// Neither use nor keep what is known of the path to the server [kept in ~/.local/state/rapidpath]
    #[arg(long, env = "RPCLIENT_NO_PATH_MEMORY", global = true)]
    pub no_path_memory: bool,

    /// Unix socket for commands to this program, as status; off for none [default: in
    /// $XDG_RUNTIME_DIR/rapidpath, or /run/rapidpath for root]
    #[arg(long, value_name = "PATH", env = "RPCLIENT_CONTROL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<PathBuf>,

    /// TCP address of the status page, metrics and health check, as 127.0.0.1:1079; one that other machines
    /// can reach needs --admin-token-file [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "RPCLIENT_ADMIN", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,

    /// File with the token that the status page and the metrics then ask for; mode 0600
    #[arg(
        long,
        value_name = "FILE",
        env = "RPCLIENT_ADMIN_TOKEN_FILE",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,

    /// Most memory for what is on its way, in all: 512M, 1.5G; past it windows shrink and writers wait [default: a
    /// quarter of what the machine or the control group has, 4G at most]
    #[arg(long, value_name = "SIZE", env = "RPCLIENT_MEMORY", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,

    /// How long to let what is under way end after SIGTERM, in seconds; a second signal, and SIGINT, end it
    /// at once [default: 10]
    #[arg(long, value_name = "SECONDS", env = "RPCLIENT_DRAIN", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<u64>,

    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "RPCLIENT_LOG_LEVEL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,

    /// How to log: text, or json for one object a line [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "RPCLIENT_LOG_FORMAT",
        global = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,

    /// Write what each connection does, event by event (qlog): a file for each in this folder, or this
    /// file
    #[arg(long, value_name = "PATH", env = "RPCLIENT_TRACE", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
}

impl ClientOptions {
    /// These options where given, those of `file` elsewhere.
    #[must_use]
    pub fn or(self, file: Self) -> Self {
        Self {
            server: given(self.server, file.server),
            server_order: self.server_order.or(file.server_order),
            host_key: given(self.host_key, file.host_key),
            known_hosts: self.known_hosts.or(file.known_hosts),
            identity: self.identity.or(file.identity),
            listen: self.listen.or(file.listen),
            transparent: given(self.transparent, file.transparent),
            tproxy: given(self.tproxy, file.tproxy),
            ftp_ports: self.ftp_ports.or(file.ftp_ports),
            proxy_users: self.proxy_users.or(file.proxy_users),
            optimistic: self.optimistic.or(file.optimistic),
            local_forward: given(self.local_forward, file.local_forward),
            remote_forward: given(self.remote_forward, file.remote_forward),
            udp_reply_address: self.udp_reply_address.or(file.udp_reply_address),
            policy: self.policy.or(file.policy),
            rate: self.rate.or(file.rate),
            tell_source: self.tell_source || file.tell_source,
            no_path_memory: self.no_path_memory || file.no_path_memory,
            control: self.control.or(file.control),
            admin: self.admin.or(file.admin),
            admin_token_file: self.admin_token_file.or(file.admin_token_file),
            memory: self.memory.or(file.memory),
            drain: self.drain.or(file.drain),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
            trace: self.trace.or(file.trace),
        }
    }
}

/// A list where it was given, the file's elsewhere.
pub(super) fn given<T>(typed: Vec<T>, file: Vec<T>) -> Vec<T> {
    if typed.is_empty() { file } else { typed }
}
