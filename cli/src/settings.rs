//! What is meant: the arguments joined with the settings file, defaults filled in, every value
//! understood. What was typed is in `args`.

mod file;

use std::{
    collections::HashSet,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use rp_protocol::{
    config::{Policy, TransportConfig},
    units::Bandwidth,
};
use rp_proxy::{
    auth::Credentials,
    client::DEFAULT_FTP_PORTS,
    exit::{
        DEFAULT_MAX_TARGETS, DEFAULT_MAX_TARGETS_PER_KEY, ListenAccess, ListenRule, TargetPattern,
        policy::{Policy as EgressPolicy, Rule},
    },
    ports::PortSet,
};

pub use self::file::SettingsFile;
use crate::{
    address::ListenAddress,
    admin::AdminSettings,
    args::{client::ClientOptions, server::ServerOptions},
    authorized_keys::AuthorizedKeys,
    clients::ConnectionLimits,
    connect::{DEFAULT_PORT, Server, Trust},
    control::Place,
    copy::service::CopyLimits,
    exit_code::Failure,
    forward::{Direction, ForwardSpec},
    guarded_file::{self, Guard, GuardError},
    identity,
    logging::{Format, Level},
    memory::MemoryBudget,
    openssh::Fingerprint,
    rate,
    servers::ServerOrder,
    transparent::TransparentSettings,
};

/// Where `rpclient` listens if nothing is said: this machine only.
const DEFAULT_PROXY: &str = "127.0.0.1:1080";

/// How long what is under way may take to end after SIGTERM: most requests are over by then, and a service
/// manager does not lose patience.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// What `rpserver` does.
#[derive(Debug)]
pub struct ServerSettings {
    /// UDP address to listen on.
    pub listen: ListenAddress,
    /// The host key's file.
    pub key: PathBuf,
    /// Who is let in.
    pub authorized_keys: PathBuf,
    /// Where files are served from.
    pub root: Option<PathBuf>,
    /// Clients whose key is not listed may read files.
    pub anonymous: bool,
    /// Nobody changes files.
    pub read_only: bool,
    /// One client is let in, once, by a key that is made for it.
    pub once_key: bool,
    /// Another port will do if that of `listen` is taken.
    pub any_port: bool,
    /// What may be dialled.
    pub policy: EgressPolicy,
    /// Which targets get a header of the PROXY protocol.
    pub proxy_protocol: Vec<TargetPattern>,
    /// Where a key without rules of its own may have us listen.
    pub listen_access: ListenAccess,
    /// Highest rate at which each connection sends.
    pub rate: Option<Bandwidth>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// How many proxied connections there may be.
    pub max_targets: usize,
    /// How many of them for one key.
    pub max_targets_per_key: usize,
    /// How long a client may only say that it is working on a copy.
    pub working_timeout: Duration,
    /// Where commands to the running program are taken.
    pub control: Place,
    /// Where the numbers are shown.
    pub admin: Option<AdminSettings>,
    /// What may be used for what is on its way.
    pub memory: MemoryBudget,
    /// How long what is under way may take to end.
    pub drain: Duration,
    /// How much is logged.
    pub log_level: Option<Level>,
    /// And how.
    pub log_format: Format,
    /// Where event traces go.
    pub trace: Option<PathBuf>,
}

impl ServerSettings {
    /// Understands `options`; also gives them with the defaults filled in, for `--check`.
    ///
    /// # Errors
    /// A value cannot be understood; the text names its option.
    pub fn new(options: ServerOptions) -> Result<(Self, ServerOptions), Failure> {
        let any_port = options.once_key && options.listen.is_none();
        let options = options.or(ServerOptions {
            listen: Some(format!("0.0.0.0:{DEFAULT_PORT}")),
            key: identity::default_host_key_path(),
            authorized_keys: AuthorizedKeys::default_path(),
            ..ServerOptions::default()
        });
        let mut policy = EgressPolicy::default();
        for rule in &options.allow {
            policy = policy.allow(parse::<Rule>("allow", rule)?);
        }
        for rule in &options.deny {
            policy = policy.deny(parse::<Rule>("deny", rule)?);
        }
        if options.anonymous && options.root.is_none() {
            return Err(Failure::option(
                "anonymous",
                "--anonymous needs --root: it opens nothing else",
            ));
        }
        if options.once_key && (options.root.is_none() || options.anonymous) {
            return Err(Failure::option(
                "once-key",
                "--once-key needs --root, and goes without --anonymous: nobody else is let in",
            ));
        }
        if let Some(root) = &options.root
            && !root.is_dir()
        {
            let text = format!("--root: {} is no folder", root.display());
            return Err(Failure::option("root", text));
        }
        let settings = Self {
            listen: parse("listen", options.listen.as_deref().unwrap_or_default())?,
            key: needed("key", options.key.clone())?,
            authorized_keys: needed("authorized-keys", options.authorized_keys.clone())?,
            root: options.root.clone(),
            anonymous: options.anonymous,
            read_only: options.read_only,
            once_key: options.once_key,
            any_port,
            policy,
            proxy_protocol: parse_all("proxy-protocol", &options.proxy_protocol)?,
            listen_access: listen_access(&options.permit_listen)?,
            rate: optional_rate(options.rate.as_deref())?,
            connections: connection_limits(&options),
            max_targets: options.max_targets.unwrap_or(DEFAULT_MAX_TARGETS),
            max_targets_per_key: options
                .max_targets_per_key
                .unwrap_or(DEFAULT_MAX_TARGETS_PER_KEY),
            working_timeout: options
                .working_timeout
                .map_or_else(|| CopyLimits::default().working, Duration::from_secs),
            control: Place::from_option(options.control.as_deref()),
            admin: admin(
                options.admin.as_deref(),
                options.admin_token_file.as_deref(),
            )?,
            memory: optional("memory", options.memory.as_deref())?
                .unwrap_or_else(MemoryBudget::of_machine),
            drain: options.drain.map_or(DEFAULT_DRAIN, Duration::from_secs),
            log_level: optional("log-level", options.log_level.as_deref())?,
            log_format: optional("log-format", options.log_format.as_deref())?.unwrap_or_default(),
            trace: options.trace.clone(),
        };
        Ok((settings, options))
    }
}

fn listen_access(rules: &[String]) -> Result<ListenAccess, Failure> {
    let rules = rules.iter();
    rules
        .map(|rule| parse::<ListenRule>("permit-listen", rule))
        .collect()
}

fn connection_limits(options: &ServerOptions) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    ConnectionLimits {
        total: options.max_connections.unwrap_or(default.total),
        per_key: match options.once_key {
            true => 1,
            false => options.max_connections_per_key.unwrap_or(default.per_key),
        },
        per_network: options
            .max_connections_per_network
            .unwrap_or(default.per_network),
        anonymous: options.max_anonymous.unwrap_or(default.anonymous),
        anonymous_per_network: options
            .max_anonymous_per_network
            .unwrap_or(default.anonymous_per_network),
    }
}

/// What `rpclient` does.
#[derive(Debug)]
pub struct ClientSettings {
    /// Whom to connect to, as whom, and which key each must have.
    pub servers: Vec<(Server, Trust)>,
    /// Which of them is preferred.
    pub server_order: ServerOrder,
    /// How to send.
    pub transport: TransportConfig,
    /// How the rate is decided, as in `transport`.
    pub policy: Policy,
    /// The most to send, likewise.
    pub rate: Option<Bandwidth>,
    /// TCP address of the proxy.
    pub listen: ListenAddress,
    /// Where connections come that the kernel diverts.
    pub transparent: TransparentSettings,
    /// Which of them are FTP's.
    pub ftp_ports: PortSet,
    /// Who may use it.
    pub credentials: Credentials,
    /// Ports for which success is said before the dial.
    pub optimistic: PortSet,
    /// Whether the server is told where clients are.
    pub tells_source: bool,
    /// What is forwarded, and in which direction.
    pub forwards: Vec<(Direction, ForwardSpec)>,
    /// What SOCKS5 clients are told to send their datagrams to.
    pub udp_reply_address: Option<IpAddr>,
    /// What is known of the path to the server is used and kept.
    pub remembers_paths: bool,
    /// Where commands to the running program are taken.
    pub control: Place,
    /// Where the numbers are shown.
    pub admin: Option<AdminSettings>,
    /// What may be used for what is on its way.
    pub memory: MemoryBudget,
    /// How long what is under way may take to end.
    pub drain: Duration,
    /// How much is logged.
    pub log_level: Option<Level>,
    /// And how.
    pub log_format: Format,
    /// Where event traces go.
    pub trace: Option<PathBuf>,
}

impl ClientSettings {
    /// Understands `options`; also gives them with the defaults filled in, for `--check`.
    ///
    /// # Errors
    /// A value is missing or cannot be understood; the text names its option.
    pub fn new(options: ClientOptions) -> Result<(Self, ClientOptions), Failure> {
        // Where none is named, an agent is asked as well.
        let identity = options.identity.clone();
        let options = options.or(ClientOptions {
            listen: Some(DEFAULT_PROXY.to_owned()),
            policy: Some("fair".to_owned()),
            server_order: Some("given".to_owned()),
            identity: identity::default_path(),
            ..ClientOptions::default()
        });
        let rate = optional_rate(options.rate.as_deref())?;
        let policy = policy(options.policy.as_deref().unwrap_or_default(), rate)?;
        let credentials = match &options.proxy_users {
            Some(path) => read_users(path)?,
            None => Credentials::default(),
        };
        let memory: Option<MemoryBudget> = optional("memory", options.memory.as_deref())?;
        let memory = memory.unwrap_or_else(MemoryBudget::of_machine);
        let settings = Self {
            servers: servers(&options, identity.as_ref())?,
            server_order: parse(
                "server-order",
                options.server_order.as_deref().unwrap_or_default(),
            )?,
            transport: TransportConfig::default()
                .policy(policy)
                .max_rate(rate)
                .initial_stream_credit(memory.first_window()),
            policy,
            rate,
            listen: parse("listen", options.listen.as_deref().unwrap_or_default())?,
            transparent: TransparentSettings::new(&options)?,
            ftp_ports: parse(
                "ftp-ports",
                options.ftp_ports.as_deref().unwrap_or(DEFAULT_FTP_PORTS),
            )?,
            credentials,
            optimistic: options
                .optimistic
                .as_deref()
                .map_or_else(|| Ok(PortSet::default()), |text| parse("optimistic", text))?,
            tells_source: options.tell_source,
            forwards: forwards(&options)?,
            udp_reply_address: optional("udp-reply-address", options.udp_reply_address.as_deref())?,
            remembers_paths: !options.no_path_memory,
            control: Place::from_option(options.control.as_deref()),
            admin: admin(
                options.admin.as_deref(),
                options.admin_token_file.as_deref(),
            )?,
            memory,
            drain: options.drain.map_or(DEFAULT_DRAIN, Duration::from_secs),
            log_level: optional("log-level", options.log_level.as_deref())?,
            log_format: optional("log-format", options.log_format.as_deref())?.unwrap_or_default(),
            trace: options.trace.clone(),
        };
        Ok((settings, options))
    }
}

/// The servers with whom they must be: of several host keys each is for one of them, one alone is for all.
fn servers(
    options: &ClientOptions,
    identity: Option<&PathBuf>,
) -> Result<Vec<(Server, Trust)>, Failure> {
    let servers: Vec<Server> = parse_all("server", &options.server)?;
    let keys: Vec<Fingerprint> = parse_all("host-key", &options.host_key)?;
    if servers.is_empty() {
        return Err(Failure::usage(
            "no server: give --server HOST, RPCLIENT_SERVER, or a settings file",
        ));
    }
    if keys.len() > 1 && keys.len() != servers.len() {
        let text = format!(
            "--host-key: {} keys for {} servers; give one for all or one for each, in their order",
            keys.len(),
            servers.len()
        );
        return Err(Failure::option("host-key", text));
    }
    let with_trust = servers.into_iter().enumerate().map(|(at, server)| {
        let trust = Trust {
            identity: identity.cloned(),
            host_key: keys.get(at).or_else(|| keys.first()).cloned(),
            known_hosts: options.known_hosts.clone(),
        };
        (server, trust)
    });
    Ok(with_trust.collect())
}

/// The forwards of both directions.
fn forwards(options: &ClientOptions) -> Result<Vec<(Direction, ForwardSpec)>, Failure> {
    let local = options.local_forward.iter();
    let local = local.map(|text| (Direction::Local, "local-forward", text));
    let remote = options.remote_forward.iter();
    let remote = remote.map(|text| (Direction::Remote, "remote-forward", text));
    let parse = |(direction, option, text): (_, _, &String)| Ok((direction, parse(option, text)?));
    local.chain(remote).map(parse).collect()
}

/// The text of a file that others cannot change.
fn read_guarded(path: &Path, guard: Guard) -> Result<String, GuardError> {
    let (bytes, _) = guarded_file::read(path, guard)?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let what = format!("not UTF-8 after {} bytes", error.valid_up_to());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    Ok(text.to_owned())
}

pub(crate) fn parse<T>(option: &'static str, text: &str) -> Result<T, Failure>
where
    T: FromStr<Err: std::fmt::Display>,
{
    text.parse()
        .map_err(|error| Failure::option(option, format!("--{option} {text}: {error}")))
}

fn parse_all<T>(option: &'static str, texts: &[String]) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err: std::fmt::Display>,
{
    texts.iter().map(|text| parse(option, text)).collect()
}

fn admin(
    listen: Option<&str>,
    token_file: Option<&Path>,
) -> Result<Option<AdminSettings>, Failure> {
    match (listen, token_file) {
        (Some(listen), token_file) => AdminSettings::new(listen, token_file).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::option(
            "admin-token-file",
            "--admin-token-file needs --admin",
        )),
    }
}

fn optional<T>(option: &'static str, text: Option<&str>) -> Result<Option<T>, Failure>
where
    T: FromStr<Err: std::fmt::Display>,
{
    text.map(|text| parse(option, text)).transpose()
}

fn needed(option: &str, path: Option<PathBuf>) -> Result<PathBuf, Failure> {
    path.ok_or_else(|| Failure::usage(format!("no home to keep files in: give --{option}")))
}

fn optional_rate(text: Option<&str>) -> Result<Option<Bandwidth>, Failure> {
    let rate = text.map(rate::parse).transpose();
    rate.map_err(|error| Failure::option("rate", format!("--rate: {error}")))
}

fn policy(name: &str, rate: Option<Bandwidth>) -> Result<Policy, Failure> {
    match (name, rate) {
        ("fair", _) => Ok(Policy::Fair),
        ("low", _) => Ok(Policy::Low),
        ("fixed", Some(rate)) => Ok(Policy::Fixed(rate)),
        ("fixed", None) => Err(Failure::option("policy", "--policy fixed needs --rate")),
        _ => {
            let text = format!("--policy {name}: it is fair, low or fixed");
            Err(Failure::option("policy", text))
        }
    }
}

/// Longest user and password that SOCKS5 can ask for (RFC 1929).
const MAX_LOGIN_BYTES: usize = 255;

/// Reads `USER:PASSWORD` lines; empty lines and those that begin with `#` are skipped.
fn read_users(path: &Path) -> Result<Credentials, Failure> {
    let text = read_guarded(path, Guard::Passwords).map_err(|error| {
        let text = format!("--proxy-users {}: {error}", path.display());
        Failure::option("proxy-users", text)
    })?;
    let mut credentials = Credentials::default();
    let mut known = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mistake = |what| {
            let line = index + 1;
            Failure::usage(format!("{} line {line}: {what}", path.display()))
        };
        let (user, password) = line
            .split_once(':')
            .ok_or_else(|| mistake("not USER:PASSWORD"))?;
        if user.is_empty() || user.len() > MAX_LOGIN_BYTES || password.len() > MAX_LOGIN_BYTES {
            return Err(mistake("user and password have up to 255 bytes each"));
        }
        if !known.insert(user) {
            return Err(mistake("this user has a line already"));
        }
        credentials.add(user, password);
    }
    if credentials.is_required() {
        Ok(credentials)
    } else {
        let text = format!("--proxy-users {}: no users in it", path.display());
        Err(Failure::option("proxy-users", text))
    }
}

#[cfg(test)]
mod tests;
