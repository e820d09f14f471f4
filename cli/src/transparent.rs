//! The listeners of `rpclient` for connections that the kernel diverts: `--transparent`, `--tproxy`.
//! How the kernel comes to divert them is `tproxy`'s business.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rp_proxy::{Capture, Client, TransparentListener};
use tokio::task::JoinSet;

use crate::{
    address::{self, ListenAddress},
    args::client::ClientOptions,
    exit_code::{ExitCode, Failure},
    run,
    settings::parse,
};

/// Where `rpclient` listens for diverted connections.
#[derive(Clone, Debug, Default)]
pub struct TransparentSettings {
    /// For REDIRECT.
    pub redirect: Vec<ListenAddress>,
    /// For TPROXY.
    pub tproxy: Vec<ListenAddress>,
}

impl TransparentSettings {
    /// Understands `--transparent` and `--tproxy`.
    ///
    /// # Errors
    /// Text that is no address.
    pub fn new(options: &ClientOptions) -> Result<Self, Failure> {
        let list = |option: &'static str, texts: &[String]| {
            let parsed = texts.iter().map(|text| parse(option, text));
            parsed.collect::<Result<Vec<ListenAddress>, Failure>>()
        };
        Ok(Self {
            redirect: list("transparent", &options.transparent)?,
            tproxy: list("tproxy", &options.tproxy)?,
        })
    }

    /// All addresses of `--transparent` or `--tproxy`.
    ///
    /// # Errors
    /// A name without addresses.
    pub async fn addresses(&self, capture: Capture) -> Result<Vec<SocketAddr>, Failure> {
        let (option, list) = match capture {
            Capture::Redirect => ("transparent", &self.redirect),
            Capture::Tproxy => ("tproxy", &self.tproxy),
        };
        let mut found = Vec::new();
        for address in list {
            if let Some(both) = loopback(address) {
                found.extend(both);
                continue;
            }
            let resolved = address.resolve(Ipv4Addr::LOCALHOST.into()).await;
            let resolved = resolved
                .map_err(|error| Failure::usage(format!("--{option} {address}: {error}")))?;
            // The unspecified IPv6 address takes IPv4 as well; the other is for a system without IPv6.
            let any = resolved.iter().find(|addr| addr.ip().is_unspecified());
            match any {
                Some(any) => found.push(*any),
                None => found.extend(resolved),
            }
        }
        found.dedup();
        Ok(found)
    }
}

/// Bound listeners, each with its address.
#[derive(Debug)]
pub struct TransparentListeners(Vec<TransparentListener>);

impl TransparentListeners {
    /// Binds all that `settings` name.
    ///
    /// # Errors
    /// An address is taken or not ours, or a capability is missing: the text says which.
    pub async fn bind(settings: &TransparentSettings) -> Result<Self, Failure> {
        let mut listeners = Vec::new();
        for capture in [Capture::Redirect, Capture::Tproxy] {
            for address in settings.addresses(capture).await? {
                match TransparentListener::bind(address, capture) {
                    Ok(listener) => listeners.push(listener),
                    // `localhost` on a system without IPv6.
                    Err(error) if is_absent(&error) && address.ip() == Ipv6Addr::LOCALHOST => {}
                    Err(error) => return Err(cannot_listen(address, capture, &error)),
                }
            }
        }
        Ok(Self(listeners))
    }

    /// Says where they listen, a line each.
    pub fn say(&self) {
        for listener in &self.0 {
            let label = match listener.capture() {
                Capture::Redirect => "transparent on",
                Capture::Tproxy => "tproxy on",
            };
            if let Ok(local) = listener.local_addr() {
                run::say(&format!("{label} {local}"));
            }
        }
    }

    /// Serves them all. Ends only if dropped.
    pub async fn serve(self, client: &Client) {
        let mut serving = JoinSet::new();
        for listener in self.0 {
            let client = client.clone();
            serving.spawn(async move { client.serve_transparent(listener).await });
        }
        while serving.join_next().await.is_some() {}
        pending().await
    }
}

/// Both addresses that `localhost` means (RFC 6761 section 6.3), which not every system says of it.
fn loopback(address: &ListenAddress) -> Option<[SocketAddr; 2]> {
    let address = address.to_string();
    let port = address.strip_prefix("localhost:")?.parse().ok()?;
    Some([
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ])
}

/// Whether this system has no such address at all.
fn is_absent(error: &io::Error) -> bool {
    let no_family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(no_family)
}

fn cannot_listen(address: SocketAddr, capture: Capture, error: &io::Error) -> Failure {
    let option = match capture {
        Capture::Redirect => "--transparent",
        Capture::Tproxy => "--tproxy",
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied if capture == Capture::Tproxy => {
            let text = format!(
                "{option}: cannot listen on {address}: {error}; TPROXY needs CAP_NET_ADMIN or CAP_NET_RAW: run as root, \
                 set AmbientCapabilities= in the unit, or `setcap cap_net_raw+ep` on the program"
            );
            Failure::new(ExitCode::Permission, text)
        }
        _ => address::cannot_listen(format_args!("{address} ({option})"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_told_with_the_capability_that_is_missing() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = |capture| {
            let address = SocketAddr::from(([127, 0, 0, 1], 80));
            let failure = cannot_listen(address, capture, &denied);
            assert_eq!(failure.code, ExitCode::Permission);
            failure.text
        };
        assert!(told(Capture::Tproxy).contains("CAP_NET_ADMIN or CAP_NET_RAW"));
        assert!(told(Capture::Redirect).contains("CAP_NET_BIND_SERVICE"));
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(address::advice(&taken), "");
        assert!(address::advice(&denied).contains("CAP_NET_BIND_SERVICE"));
    }
}
