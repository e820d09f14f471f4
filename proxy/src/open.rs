//! The request and the reply at the head of a proxied stream, as bytes (`spec/10-proxy.md`).
//! Sending and awaiting them lives in `client` and `exit`.

use std::net::SocketAddr;

use crate::{
    error::{DialFailure, FailureKind},
    target::Target,
    wire::{Prefix, put_counted, put_ip, put_target},
};

/// Longest request: command, type, length, name, port, options length, options.
pub const MAX_REQUEST_BYTES: usize = 1 + 1 + 1 + 255 + 2 + 1 + 255;

/// Longest reply: status, length, reason.
pub const MAX_REPLY_BYTES: usize = 1 + 1 + 255;

const COMMAND_CONNECT: u8 = 1;
const COMMAND_ASSOCIATE: u8 = 3;
const STATUS_CONNECTED: u8 = 0;

/// What the client asks of the exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Dial this over TCP and relay.
    Connect(Target),
    /// Exchange datagrams with whatever they name.
    Associate,
}

impl Request {
    /// Appends the wire form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect(target) => {
                out.push(COMMAND_CONNECT);
                put_target(target, out);
            }
            Self::Associate => out.push(COMMAND_ASSOCIATE),
        }
        // No options are defined.
        out.push(0);
    }

    /// Reads a request from the front of `bytes`: the request and its length, `None` while more
    /// bytes are needed, or what to answer if it can never become one.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DialFailure> {
        let mut prefix = Prefix::new(bytes);
        let request = match prefix.u8() {
            None => return Ok(None),
            Some(COMMAND_CONNECT) => match prefix.target()? {
                Some(target) => Self::Connect(target),
                None => return Ok(None),
            },
            Some(COMMAND_ASSOCIATE) => Self::Associate,
            //= spec/10-proxy.md#request
            //# An exit MUST answer a command it does not know with status 7.
            Some(_) => return Err(DialFailure::new(FailureKind::CommandUnsupported)),
        };
        //= spec/10-proxy.md#request
        //# An exit MUST ignore options it does not know.
        Ok(prefix.counted().map(|_options| (request, prefix.taken())))
    }
}

/// What the exit answers: the address it dialled from, or why there is no connection.
pub type Reply = Result<SocketAddr, DialFailure>;

/// Appends the wire form of `reply` to `out`.
pub fn encode_reply(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Ok(bound) => {
            out.push(STATUS_CONNECTED);
            put_ip(bound.ip(), out);
            out.extend_from_slice(&bound.port().to_be_bytes());
        }
        Err(failure) => {
            out.push(failure.kind.into_wire());
            put_counted(failure.reason.as_bytes(), out);
        }
    }
}

/// A reply that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

/// Reads a reply from the front of `bytes`: the reply and its length, or `None` while more bytes
/// are needed.
pub fn decode_reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, BadReply> {
    let mut prefix = Prefix::new(bytes);
    let Some(status) = prefix.u8() else {
        return Ok(None);
    };
    if status != STATUS_CONNECTED {
        let reply = prefix.counted().map(|reason| {
            Err(DialFailure::because(
                FailureKind::from_wire(status),
                printable(reason),
            ))
        });
        return Ok(reply.map(|reply| (reply, prefix.taken())));
    }
    let Some(kind) = prefix.u8() else {
        return Ok(None);
    };
    let ip = prefix.ip(kind).map_err(|_| BadReply)?;
    let (Some(ip), Some(port)) = (ip, prefix.u16()) else {
        return Ok(None);
    };
    Ok(Some((Ok(SocketAddr::new(ip, port)), prefix.taken())))
}

//= spec/10-proxy.md#reply
//# A client MUST NOT show a reason's bytes outside printable ASCII.
fn printable(reason: &[u8]) -> String {
    reason
        .iter()
        .map(|&b| match b {
            0x20..0x7f => char::from(b),
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests;
