//! Arguments of `rpserver`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use super::{Common, StatusArgs};

/// Serves proxied connections and files to rpclient and rpcp over RPP.
#[derive(Debug, Parser)]
#[command(name = "rpserver", version, max_term_width = 100)]
pub struct ServerArgs {
    /// What to serve and to whom.
    #[command(flatten)]
    pub options: ServerOptions,
    /// How to run.
    #[command(flatten)]
    pub common: Common,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
}

/// What else `rpserver` does.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Tell the numbers of the running rpserver
    Status(StatusArgs),
}

/// Options of `rpserver` that a settings file may hold too.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerOptions {
    /// UDP address to listen on: ADDR:PORT, NAME:PORT, or :PORT for all addresses [default:
    /// 0.0.0.0:7377]
    #[arg(long, value_name = "ADDR:PORT", env = "RPSERVER_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,

    /// Host key, in OpenSSH format; made if it does not exist [default: host_key in
    /// ~/.config/rapidpath]
    #[arg(long, value_name = "FILE", env = "RPSERVER_KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,

    /// Keys that are let in, one OpenSSH line each [default: authorized_keys in
    /// ~/.config/rapidpath]
    #[arg(long, value_name = "FILE", env = "RPSERVER_AUTHORIZED_KEYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized_keys: Option<PathBuf>,

    /// Folder to serve files from; without it no files are served
    #[arg(long, value_name = "DIR", env = "RPSERVER_ROOT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,

    /// Let keys nobody knows read files under --root, and nothing else
    #[arg(long, env = "RPSERVER_ANONYMOUS")]
    pub anonymous: bool,

    /// Let no key change files under --root
    #[arg(long, env = "RPSERVER_READ_ONLY")]
    pub read_only: bool,

    /// Print a line for the other machine, which fetches all files under --root; nobody else is let in, and the key
    /// in it dies with this server, which ends when that has happened
    #[arg(long)]
    #[serde(skip)]
    pub once_key: bool,

    /// Network that may be dialled although it is not public: 10.0.0.0/8, 10.0.0.0/8:443,
    /// [fd00::/8]:8000-8999, or a Unix socket, unix:/PATH; may be given again
    #[arg(
        long,
        value_name = "RULE",
        env = "RPSERVER_ALLOW",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,

    /// Network that must not be dialled, whatever --allow says; may be given again
    #[arg(
        long,
        value_name = "RULE",
        env = "RPSERVER_DENY",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,

    /// Target whose connections begin with a PROXY protocol header (version 2) that names the client's address, either
    /// part * for any; may be given again
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "RPSERVER_PROXY_PROTOCOL",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_protocol: Vec<String>,

    /// Where clients may have this server listen (rpclient -R, BIND of SOCKS): 8080 or 8000-8999 on
    /// loopback, ADDRESS:PORT, *:PORT for all addresses, unix:/PATH; permitlisten of a key replaces it; may
    /// be given again [default: nowhere]
    #[arg(
        long,
        value_name = "[ADDRESS:]PORT",
        env = "RPSERVER_PERMIT_LISTEN",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permit_listen: Vec<String>,

    /// Most to send on one connection: 500M, 1.5G, 25MB/s, 200Mbit; a bare number is bits per second
    #[arg(long, value_name = "RATE", env = "RPSERVER_RATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,

    /// Most connections at once [default: 8192]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_CONNECTIONS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,

    /// Most connections of one key at once [default: 256]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_CONNECTIONS_PER_KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_key: Option<usize>,

    /// Most connections from one network (IPv4 /24, IPv6 /64) at once [default: 1024]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_CONNECTIONS_PER_NETWORK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_network: Option<usize>,

    /// Most connections of clients let in by --anonymous at once [default: 256]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_ANONYMOUS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_anonymous: Option<usize>,

    /// Most of those from one network [default: 16]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_ANONYMOUS_PER_NETWORK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_anonymous_per_network: Option<usize>,

    /// Most proxied connections at once [default: 65536, or what the limit of open files allows]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_TARGETS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_targets: Option<usize>,

    /// Most proxied connections of one key at once [default: 16384]
    #[arg(long, value_name = "N", env = "RPSERVER_MAX_TARGETS_PER_KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_targets_per_key: Option<usize>,

    /// End a copy whose client does nothing for so many seconds but say that it is working [default:
    /// 3600]
    #[arg(long, value_name = "SECONDS", env = "RPSERVER_WORKING_TIMEOUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_timeout: Option<u64>,

    /// Unix socket for commands to this program, as status; off for none [default: in
    /// $XDG_RUNTIME_DIR/rapidpath, or /run/rapidpath for root]
    #[arg(long, value_name = "PATH", env = "RPSERVER_CONTROL", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<PathBuf>,

    /// TCP address of the status page, metrics and health check, as 127.0.0.1:7378; one that other machines
    /// can reach needs --admin-token-file [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "RPSERVER_ADMIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,

    /// File with the token that the status page and the metrics then ask for; mode 0600
    #[arg(long, value_name = "FILE", env = "RPSERVER_ADMIN_TOKEN_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,

    /// Most memory for what is on its way, in all: 512M, 1.5G; past it windows shrink and writers wait [default: a
    /// quarter of what the machine or the control group has, 4G at most]
    #[arg(long, value_name = "SIZE", env = "RPSERVER_MEMORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,

    /// How long to let what is under way end after SIGTERM, in seconds; a second signal, and SIGINT, end it
    /// at once [default: 10]
    #[arg(long, value_name = "SECONDS", env = "RPSERVER_DRAIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<u64>,

    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "RPSERVER_LOG_LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,

    /// How to log: text, or json for one object a line [default: text]
    #[arg(long, value_name = "FORMAT", env = "RPSERVER_LOG_FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,

    /// Write what each connection does, event by event (qlog): a file for each in this folder, or this
    /// file
    #[arg(long, value_name = "PATH", env = "RPSERVER_TRACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
}

impl ServerOptions {
    /// These options where given, those of `file` elsewhere.
    #[must_use]
    pub fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            key: self.key.or(file.key),
            authorized_keys: self.authorized_keys.or(file.authorized_keys),
            root: self.root.or(file.root),
            anonymous: self.anonymous || file.anonymous,
            read_only: self.read_only || file.read_only,
            once_key: self.once_key,
            allow: super::client::given(self.allow, file.allow),
            deny: super::client::given(self.deny, file.deny),
            proxy_protocol: super::client::given(self.proxy_protocol, file.proxy_protocol),
            permit_listen: super::client::given(self.permit_listen, file.permit_listen),
            rate: self.rate.or(file.rate),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_key: self
                .max_connections_per_key
                .or(file.max_connections_per_key),
            max_connections_per_network: self
                .max_connections_per_network
                .or(file.max_connections_per_network),
            max_anonymous: self.max_anonymous.or(file.max_anonymous),
            max_anonymous_per_network: self
                .max_anonymous_per_network
                .or(file.max_anonymous_per_network),
            max_targets: self.max_targets.or(file.max_targets),
            max_targets_per_key: self.max_targets_per_key.or(file.max_targets_per_key),
            working_timeout: self.working_timeout.or(file.working_timeout),
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
