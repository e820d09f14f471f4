//! From a target's host to the addresses policy allows. Connecting lives in `dial`.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::lookup_host, time::timeout};

use super::policy::{Denial, Policy};
use crate::{
    error::{DialFailure, FailureKind},
    target::{Host, Target},
};

/// Most addresses of one name that are tried; more only lengthen a failure.
const MAX_ADDRESSES: usize = 16;

/// The allowed addresses of `target`, in the order to try them; never empty.
///
/// A name that resolves to allowed and denied addresses keeps the allowed ones: a denied one among
/// them is never dialled, which is all that DNS rebinding could aim at.
pub(crate) async fn resolve(
    target: &Target,
    policy: &Policy,
    within: Duration,
) -> Result<Vec<SocketAddr>, DialFailure> {
    let found = match target.host() {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, target.port())],
        Host::Name(name) => {
            let lookup = timeout(within, lookup_host((name.as_str(), target.port()))).await;
            match lookup {
                Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
                Ok(Err(_)) => return Err(DialFailure::new(FailureKind::NameNotFound)),
                Err(_) => {
                    return Err(DialFailure::because(
                        FailureKind::TimedOut,
                        "the name server did not answer",
                    ));
                }
            }
        }
    };
    select(&found, policy)
}

/// Keeps what policy allows, families taking turns from the resolver's first choice on
/// (RFC 8305 section 4).
fn select(found: &[SocketAddr], policy: &Policy) -> Result<Vec<SocketAddr>, DialFailure> {
    let mut denied: Option<Denial> = None;
    let mut allowed = Vec::with_capacity(found.len());
    for &addr in found {
        match policy.check(addr) {
            Ok(addr) if !allowed.contains(&addr) => allowed.push(addr),
            Ok(_) => {}
            Err(denial) => denied = Some(denial),
        }
    }
    let Some(first) = allowed.first().copied() else {
        return Err(match denied {
            Some(denial) => DialFailure::because(FailureKind::Denied, denial.to_string()),
            None => DialFailure::new(FailureKind::NameNotFound),
        });
    };
    let (preferred, other): (Vec<_>, Vec<_>) = allowed
        .into_iter()
        .partition(|addr| addr.is_ipv4() == first.is_ipv4());
    let mut ordered = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => return Ok(ordered),
            (a, b) => ordered.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests;
