//! Arguments of `rpclient tproxy-setup` and `tproxy-teardown`.

use clap::Args;

/// What of this machine's or a network's traffic is diverted to the running rpclient.
///
/// Where it listens is said by --tproxy (TCP and UDP) or else --transparent (TCP), the server by
/// --server, on the command line or in the settings file, as for the rpclient that runs. Without
/// --lan, this machine's own programs are meant.
///
/// Never diverted: loopback, addresses of this machine, the server, link-local, multicast and
/// broadcast addresses, DHCP; private networks only with --private.
#[derive(Args, Clone, Debug, Default)]
pub struct SetupArgs {
    /// Divert what comes in from this interface: this machine is the gateway of the network there
    #[arg(long, value_name = "INTERFACE", value_delimiter = ',')]
    pub lan: Vec<String>,

    /// With --lan: divert what this machine's own programs send, too
    #[arg(long)]
    pub host: bool,

    /// Do not divert what goes to this network or address
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub exclude: Vec<String>,

    /// Do not divert what goes to this port: 25 or 6000-6063
    #[arg(long, value_name = "PORT[-PORT]", value_delimiter = ',')]
    pub exclude_port: Vec<String>,

    /// Divert only what goes to these ports [default: all]
    #[arg(long, value_name = "PORT[-PORT]", value_delimiter = ',')]
    pub ports: Vec<String>,

    /// Divert what goes to private networks, too: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
    /// 100.64.0.0/10, fc00::/7
    #[arg(long)]
    pub private: bool,

    /// Do not divert what programs of this user send; rpclient should run as a user of its own
    /// [default: the user of the running rpclient, where that is a system user]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// With --tproxy: do not divert UDP
    #[arg(long)]
    pub tcp_only: bool,

    /// Do not try afterwards whether a connection arrives
    #[arg(long)]
    pub no_test: bool,

    /// Print what would be done, as a shell script, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Removes what tproxy-setup made, also where that was killed half-way.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct TeardownArgs {
    /// Print what would be done, as a shell script, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
