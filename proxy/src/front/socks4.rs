//! SOCKS4 and SOCKS4a: a parser over byte prefixes, and the adapter that speaks it.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt as _;
use tracing::debug;

use super::{FrontEndContext, FrontError, Handshake, Parsed, bind};
use crate::target::{Host, MAX_NAME_BYTES, Target};

const VERSION: u8 = 4;
const COMMAND_CONNECT: u8 = 1;
const COMMAND_BIND: u8 = 2;
const GRANTED: u8 = 0x5a;
const REJECTED: u8 = 0x5b;
const BAD_USER: u8 = 0x5d;

/// Longest user id taken; the protocol names no limit.
const MAX_USER_BYTES: usize = 255;

/// A request that is answered with "rejected".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A connection to this target.
    Connect(Target),
    /// One connection from the host of this target.
    Bind(Target),
}

/// Reads the request: version, command, port, address, user id, and for SOCKS4a a name. The user
/// id is not kept: without a password it proves nothing.
pub(super) fn parse_request(bytes: &[u8]) -> Parsed<Request, Rejected> {
    let Some((&[version, command, p0, p1, a, b, c, d], rest)) = bytes.split_first_chunk::<8>()
    else {
        return Ok(None);
    };
    let Some((_user, rest)) = terminated(rest, MAX_USER_BYTES)? else {
        return Ok(None);
    };
    let (host, rest) = match [a, b, c, d] {
        // SOCKS4a: 0.0.0.x with x not zero means that a name follows.
        [0, 0, 0, last] if last != 0 => match terminated(rest, MAX_NAME_BYTES)? {
            Some((name, rest)) => {
                let name = std::str::from_utf8(name).map_err(|_| Rejected)?;
                (Host::parse(name).map_err(|_| Rejected)?, rest)
            }
            None => return Ok(None),
        },
        ip => (Host::Ip(Ipv4Addr::from(ip).into()), rest),
    };
    let port = u16::from_be_bytes([p0, p1]);
    let request = match (version, command) {
        (VERSION, COMMAND_CONNECT) => Target::new(host, port).map(Request::Connect),
        // Only the host counts: a client that waits for a connection may not know its port.
        (VERSION, COMMAND_BIND) => Target::new(host, port.max(1)).map(Request::Bind),
        _ => return Err(Rejected),
    };
    let request = request.map_err(|_| Rejected)?;
    Ok(Some((request, bytes.len() - rest.len())))
}

/// What a terminated field and the bytes behind it look like.
type Field<'a> = (&'a [u8], &'a [u8]);

/// Splits a NUL-terminated field of at most `max` bytes off the front.
fn terminated(bytes: &[u8], max: usize) -> Result<Option<Field<'_>>, Rejected> {
    match bytes.iter().take(max + 1).position(|&b| b == 0) {
        Some(end) => Ok(Some((&bytes[..end], &bytes[end + 1..]))),
        None if bytes.len() > max => Err(Rejected),
        None => Ok(None),
    }
}

/// A reply with `code`; its address fields mean nothing for CONNECT.
fn reply(code: u8) -> [u8; 8] {
    [0, code, 0, 0, 0, 0, 0, 0]
}

/// A reply to BIND, whose address fields hold an address; an IPv6 address does not fit.
fn bind_reply(outcome: Result<SocketAddr, crate::error::FailureKind>) -> Vec<u8> {
    let Ok(SocketAddr::V4(addr)) = outcome else {
        return reply(REJECTED).to_vec();
    };
    let [p0, p1] = addr.port().to_be_bytes();
    let [a, b, c, d] = addr.ip().octets();
    vec![0, GRANTED, p0, p1, a, b, c, d]
}

/// Speaks SOCKS4 with one client until its stream to the target is relayed.
pub(super) async fn serve(
    mut handshake: Handshake,
    context: &FrontEndContext,
) -> Result<(), FrontError> {
    let request = match handshake.parse(parse_request).await {
        Ok(request) => request,
        Err(FrontError::Socks4(Rejected)) => {
            handshake.refuse(&reply(REJECTED)).await;
            return Err(FrontError::Socks4(Rejected));
        }
        Err(error) => return Err(error),
    };
    if context.credentials().is_required() {
        handshake.refuse(&reply(BAD_USER)).await;
        return Err(FrontError::Unauthenticated);
    }
    let target = match request {
        Request::Connect(target) => target,
        Request::Bind(from) => return bind::serve(handshake, context, &from, bind_reply).await,
    };
    let early = handshake.early();
    let permit = handshake.permit.clone();
    match context.connect(&target, early).await {
        Ok((_bound, far)) => {
            handshake.tcp.write_all(&reply(GRANTED)).await?;
            context.relay(handshake.into_near(), far, permit);
        }
        Err(error) => {
            debug!(%target, %error, "socks4 connect failed");
            handshake.refuse(&reply(REJECTED)).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
