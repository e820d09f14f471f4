//! SOCKS5 (RFC 1928, RFC 1929): parsers over byte prefixes, and the adapter that speaks it.
//! What follows BIND is `bind`'s, what follows UDP ASSOCIATE `socks5_udp`'s.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt as _;
use tracing::debug;

use super::{FrontEndContext, FrontError, Handshake, Parsed, bind, peer_ip, socks5_udp};
use crate::{
    error::FailureKind,
    target::{Host, Target},
};

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
pub(super) const SUCCEEDED: u8 = 0;
const COMMAND_CONNECT: u8 = 1;
const COMMAND_BIND: u8 = 2;
const COMMAND_UDP_ASSOCIATE: u8 = 3;

/// Bytes that are not SOCKS5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// There is no reply in the protocol for this: the connection is closed.
    Close,
    /// The request is answered with this reply code.
    Reply(u8),
}

/// The methods a client offers, as far as we know them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    none: bool,
    password: bool,
}

/// Reads the greeting: version, count, methods.
pub(super) fn parse_greeting(bytes: &[u8]) -> Parsed<Greeting, Invalid> {
    match *bytes {
        [version, ..] if version != VERSION => Err(Invalid::Close),
        [_, count, ref rest @ ..] => {
            let Some(methods) = rest.get(..count.into()) else {
                return Ok(None);
            };
            let greeting = Greeting {
                none: methods.contains(&NO_AUTHENTICATION),
                password: methods.contains(&PASSWORD),
            };
            Ok(Some((greeting, 2 + methods.len())))
        }
        _ => Ok(None),
    }
}

/// A user name and password, as sent.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

/// Reads the login of RFC 1929: version, counted user, counted password.
pub(super) fn parse_login(bytes: &[u8]) -> Parsed<Login, Invalid> {
    match *bytes {
        [version, ..] if version != PASSWORD_VERSION => Err(Invalid::Close),
        [_, ref rest @ ..] => {
            let Some((user, rest)) = counted(rest) else {
                return Ok(None);
            };
            let Some((password, _)) = counted(rest) else {
                return Ok(None);
            };
            let login = Login {
                user: user.to_vec(),
                password: password.to_vec(),
            };
            Ok(Some((login, 3 + user.len() + password.len())))
        }
        [] => Ok(None),
    }
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(len.into())
}

/// An address as sent: of a target, or where a client expects to send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `None` for a name that is none.
    host: Option<Host>,
    port: u16,
}

impl Address {
    /// The target it names, if it names one.
    pub(super) fn into_target(self) -> Option<Target> {
        Target::new(self.host?, self.port).ok()
    }

    /// The host it names, as a target of which only the host counts: a client that waits for a connection may not
    /// know its port.
    fn into_peer(self) -> Option<Target> {
        Target::new(self.host?, self.port.max(1)).ok()
    }

    /// It as where a client sends from; 0.0.0.0 for a name.
    fn into_source(self) -> SocketAddr {
        let ip = match self.host {
            Some(Host::Ip(ip)) => ip,
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, self.port)
    }
}

/// Reads address type, address and port.
pub(super) fn parse_address(bytes: &[u8]) -> Parsed<Address, Invalid> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let host = match kind {
        1 => rest
            .split_first_chunk::<4>()
            .map(|(ip, rest)| (Some(Host::Ip((*ip).into())), rest)),
        4 => rest
            .split_first_chunk::<16>()
            .map(|(ip, rest)| (Some(Host::Ip((*ip).into())), rest)),
        3 => counted(rest).map(|(name, rest)| (parse_name(name), rest)),
        _ => return Err(reply_for(FailureKind::AddressUnsupported)),
    };
    let Some((host, rest)) = host else {
        return Ok(None);
    };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let port = u16::from_be_bytes(*port);
    Ok(Some((Address { host, port }, bytes.len() - rest.len())))
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A connection to this target.
    Connect(Target),
    /// One connection from the host of this target.
    Bind(Target),
    /// To exchange datagrams, which it expects to send from this address; 0 is for what it does not know.
    Associate(SocketAddr),
}

/// Reads the request: version, command, reserved, address, port. An unknown command is refused
/// only with the request complete, so that the reply does not overtake the client's own bytes.
pub(super) fn parse_request(bytes: &[u8]) -> Parsed<Request, Invalid> {
    let &[version, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(Invalid::Close);
    }
    let &[command, _reserved, ref rest @ ..] = rest else {
        return Ok(None);
    };
    let Some((address, len)) = parse_address(rest)? else {
        return Ok(None);
    };
    let request = match command {
        COMMAND_CONNECT => address.into_target().map(Request::Connect),
        COMMAND_BIND => address.into_peer().map(Request::Bind),
        COMMAND_UDP_ASSOCIATE => Some(Request::Associate(address.into_source())),
        _ => return Err(reply_for(FailureKind::CommandUnsupported)),
    };
    match request {
        Some(request) => Ok(Some((request, bytes.len() - rest.len() + len))),
        None => Err(reply_for(FailureKind::Malformed)),
    }
}

fn parse_name(name: &[u8]) -> Option<Host> {
    Host::parse(std::str::from_utf8(name).ok()?).ok()
}

fn reply_for(kind: FailureKind) -> Invalid {
    Invalid::Reply(reply_code(kind))
}

/// The reply code of RFC 1928 section 6 that says `kind`.
pub(super) fn reply_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Denied => 2,
        FailureKind::NetworkUnreachable => 3,
        FailureKind::HostUnreachable | FailureKind::NameNotFound => 4,
        FailureKind::Refused => 5,
        FailureKind::TimedOut => 6,
        FailureKind::CommandUnsupported => 7,
        FailureKind::AddressUnsupported => 8,
        FailureKind::General | FailureKind::Malformed | FailureKind::Exhausted => 1,
    }
}

/// A reply with `code` and the exit's address; failures, and successes said before the dial, name 0.0.0.0:0.
pub(super) fn reply(code: u8, bound: Option<SocketAddr>) -> Vec<u8> {
    let mut out = vec![VERSION, code, 0];
    let bound = bound.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    put_address(bound, &mut out);
    out
}

/// Appends address type, address and port.
pub(super) fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(addr) => {
            out.push(1);
            out.extend_from_slice(&addr.ip().octets());
        }
        SocketAddr::V6(addr) => {
            out.push(4);
            out.extend_from_slice(&addr.ip().octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// Speaks SOCKS5 with one client until its stream to the target is relayed.
pub(super) async fn serve(
    mut handshake: Handshake,
    context: &FrontEndContext,
) -> Result<(), FrontError> {
    let greeting = handshake.parse(parse_greeting).await?;
    let required = context.credentials().is_required();
    let method = match greeting {
        Greeting { password: true, .. } if required => PASSWORD,
        Greeting { none: true, .. } if !required => NO_AUTHENTICATION,
        _ => {
            handshake.refuse(&[VERSION, NO_ACCEPTABLE_METHOD]).await;
            return Err(FrontError::Unauthenticated);
        }
    };
    handshake.tcp.write_all(&[VERSION, method]).await?;
    if method == PASSWORD {
        let login = handshake.parse(parse_login).await?;
        let from = peer_ip(&handshake.tcp);
        let admitted = context
            .credentials()
            .admit(from, &login.user, &login.password);
        if !admitted.await {
            handshake.refuse(&[PASSWORD_VERSION, 1]).await;
            return Err(FrontError::Unauthenticated);
        }
        handshake.tcp.write_all(&[PASSWORD_VERSION, 0]).await?;
    }
    let target = match handshake.parse(parse_request).await {
        Ok(Request::Connect(target)) => target,
        Ok(Request::Associate(expected)) => {
            return socks5_udp::serve(handshake, context, expected).await;
        }
        Ok(Request::Bind(from)) => {
            return bind::serve(handshake, context, &from, |outcome| match outcome {
                Ok(addr) => reply(SUCCEEDED, Some(addr)),
                Err(kind) => reply(reply_code(kind), None),
            })
            .await;
        }
        Err(FrontError::Socks5(Invalid::Reply(code))) => {
            handshake.refuse(&reply(code, None)).await;
            return Err(FrontError::Socks5(Invalid::Reply(code)));
        }
        Err(error) => return Err(error),
    };
    let early = handshake.early();
    let permit = handshake.permit.clone();
    match context.connect(&target, early).await {
        Ok((bound, far)) => {
            handshake.tcp.write_all(&reply(SUCCEEDED, bound)).await?;
            context.relay(handshake.into_near(), far, permit);
            Ok(())
        }
        Err(error) => {
            debug!(%target, %error, "socks5 connect failed");
            handshake
                .refuse(&reply(reply_code(error.kind()), None))
                .await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
