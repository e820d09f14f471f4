//! What one client may reach, by the options of its key. What nobody may reach lives in `policy`.

use std::net::IpAddr;

use super::ListenAccess;
use crate::target::{Destination, Target};

/// What one client's key may reach, on top of the exit's policy.
#[derive(Clone, Debug, Default)]
pub enum TargetAccess {
    /// Whatever policy allows.
    #[default]
    All,
    /// Nothing: the key has `no-port-forwarding`.
    Nothing,
    /// Only these, as its `permitopen` options name them: host as typed or `*`, `None` for any port.
    Only(Vec<(String, Option<u16>)>),
}

/// Says what one client may reach; it is asked anew for each request.
pub trait AccessCheck: Send + Sync + 'static {
    /// What the client may reach at present. `None` if it may not be here any more; whoever says so
    /// closes the connection.
    fn target_access(&self) -> Option<TargetAccess>;

    /// Where the client may have the exit listen at present. `None` as above; by default nowhere.
    fn listen_access(&self) -> Option<ListenAccess> {
        Some(ListenAccess::default())
    }

    /// Whether the client may say that a connection comes from `source`, which its targets are told where they ask
    /// for it. By default it may not, and they are told where the client itself is.
    fn may_name_source(&self, _source: IpAddr) -> bool {
        false
    }
}

impl AccessCheck for TargetAccess {
    /// Always the same.
    fn target_access(&self) -> Option<TargetAccess> {
        Some(self.clone())
    }
}

impl TargetAccess {
    /// A list of hosts and ports names no Unix socket.
    pub(super) fn allows_any(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Tcp(target) => self.allows(target),
            Destination::Unix(_) => matches!(self, Self::All),
        }
    }

    pub(super) fn allows(&self, target: &Target) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Only(list) => {
                let wanted = target.host().to_string();
                let wanted = wanted.trim_start_matches('[').trim_end_matches(']');
                list.iter().any(|(host, port)| {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    (host == "*" || host.eq_ignore_ascii_case(wanted))
                        && port.is_none_or(|port| port == target.port())
                })
            }
        }
    }
}
