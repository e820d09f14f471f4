//! The request and the reply at the head of a proxied stream, as bytes (`spec/10-proxy.md`).
//! Sending and awaiting them lives in `client` and `exit`.

use std::net::SocketAddr;

use crate::{
    error::{DialFailure, FailureKind},
    target::{Destination, Host, ListenAt, Target},
    wire::{Address, Prefix, put_counted, put_host, put_ip, put_path, target},
};

/// Longest request: command, type, length, name, port, options length, options.
pub const MAX_REQUEST_BYTES: usize = 1 + 1 + 1 + 255 + 2 + 1 + 255;

/// Longest reply: status, length, reason.
pub const MAX_REPLY_BYTES: usize = 1 + 1 + 255;

/// Longest head of a stream the exit opens: kind, listener, address, options length, options.
pub const MAX_ARRIVAL_BYTES: usize = 1 + 8 + 1 + 16 + 2 + 1 + 255;

const KIND_ARRIVAL: u8 = 1;
const COMMAND_NONE: u8 = 0;
const COMMAND_CONNECT: u8 = 1;
const COMMAND_LISTEN: u8 = 2;
const COMMAND_ASSOCIATE: u8 = 3;
const COMMAND_BIND: u8 = 4;
const COMMAND_LISTEN_DATAGRAMS: u8 = 5;
const STATUS_CONNECTED: u8 = 0;
const OPTION_SOURCE: u8 = 1;

/// Why command 0 is not served: whoever sends it wants an answer, and nothing else.
pub(crate) const NOTHING_ASKED: &str = "nothing was asked for";

/// What the client asks of the exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Dial this and relay.
    Connect(Destination),
    /// Listen, and open a stream for each connection that comes.
    Listen(ListenAt),
    /// Exchange datagrams with whatever they name.
    Associate,
    /// Wait for one connection from this host, and relay it.
    Bind(Target),
    /// Listen for datagrams at this host and port, and exchange them with whoever sends some.
    ListenDatagrams(Host, u16),
}

/// What a client may say beside its request.
///
/// ```
/// use rp_proxy::open::{Options, Request};
/// # use rp_proxy::target::Target;
///
/// let request = Request::Connect(Target::parse("192.0.2.7:80", None)?.into());
/// let options = Options { source: Some("198.51.100.3:40000".parse()?) };
/// let mut bytes = Vec::new();
/// request.encode_with(options, &mut bytes);
/// let decoded = Request::decode_with_options(&bytes).expect("well-formed").expect("whole");
/// assert_eq!(decoded, (request, options, bytes.len()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the connection comes from for which it asks.
    pub source: Option<SocketAddr>,
}

impl Options {
    /// Appends the wire form, its length first.
    fn encode(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(0);
        if let Some(source) = self.source {
            let mut value = Vec::new();
            put_ip(source.ip(), &mut value);
            value.extend_from_slice(&source.port().to_be_bytes());
            out.push(OPTION_SOURCE);
            put_counted(&value, out);
        }
        out[start] = u8::try_from(out.len() - start - 1).expect("21 bytes at most");
    }

    //= spec/10-proxy.md#request
    //# An exit MUST ignore options it does not know.
    fn decode(bytes: &[u8]) -> Self {
        let mut options = Self::default();
        let mut prefix = Prefix::new(bytes);
        while let (Some(kind), Some(value)) = (prefix.u8(), prefix.counted()) {
            if kind == OPTION_SOURCE {
                options.source = source(value);
            }
        }
        options
    }
}

//= spec/10-proxy.md#request
//# An exit MUST ignore an option whose value is malformed.
fn source(value: &[u8]) -> Option<SocketAddr> {
    let mut prefix = Prefix::new(value);
    let source = socket_addr(&mut prefix).ok()??;
    (prefix.taken() == value.len()).then_some(source)
}

impl Request {
    /// Appends the wire form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(Options::default(), out);
    }

    /// Appends the wire form with `options` to `out`.
    pub fn encode_with(&self, options: Options, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Connect(_) => COMMAND_CONNECT,
            Self::Listen(_) => COMMAND_LISTEN,
            Self::Associate => COMMAND_ASSOCIATE,
            Self::Bind(_) => COMMAND_BIND,
            Self::ListenDatagrams(..) => COMMAND_LISTEN_DATAGRAMS,
        });
        match self {
            Self::Connect(Destination::Tcp(target)) | Self::Bind(target) => {
                put_host(target.host(), target.port(), out);
            }
            Self::Listen(ListenAt::Tcp(host, port)) | Self::ListenDatagrams(host, port) => {
                put_host(host, *port, out);
            }
            Self::Connect(Destination::Unix(path)) | Self::Listen(ListenAt::Unix(path)) => {
                put_path(path, out);
            }
            Self::Associate => {}
        }
        options.encode(out);
    }

    /// Reads a request from the front of `bytes`: the request and its length, `None` while more
    /// bytes are needed, or what to answer if it can never become one.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DialFailure> {
        let decoded = Self::decode_with_options(bytes)?;
        Ok(decoded.map(|(request, _options, len)| (request, len)))
    }

    /// The same with what the client has said beside it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with_options(
        bytes: &[u8],
    ) -> Result<Option<(Self, Options, usize)>, DialFailure> {
        let mut prefix = Prefix::new(bytes);
        let request = match prefix.u8() {
            None => return Ok(None),
            Some(COMMAND_CONNECT) => match prefix.address()? {
                None => return Ok(None),
                Some(Address::Host(host, port)) => Self::Connect(target(host, port)?.into()),
                Some(Address::Path(path)) => Self::Connect(path.into()),
            },
            Some(COMMAND_LISTEN) => match prefix.address()? {
                None => return Ok(None),
                Some(Address::Host(host, port)) => Self::Listen(ListenAt::Tcp(host, port)),
                Some(Address::Path(path)) => Self::Listen(ListenAt::Unix(path)),
            },
            Some(COMMAND_BIND) => match prefix.target()? {
                None => return Ok(None),
                Some(target) => Self::Bind(target),
            },
            Some(COMMAND_ASSOCIATE) => Self::Associate,
            Some(COMMAND_LISTEN_DATAGRAMS) => match prefix.host_and_port()? {
                None => return Ok(None),
                Some((host, port)) => Self::ListenDatagrams(host, port),
            },
            Some(COMMAND_NONE) => {
                let kind = FailureKind::CommandUnsupported;
                return Err(DialFailure::because(kind, NOTHING_ASKED));
            }
            //= spec/10-proxy.md#request
            //# An exit MUST answer a command it does not know with status 7.
            Some(_) => return Err(DialFailure::new(FailureKind::CommandUnsupported)),
        };
        let options = prefix.counted().map(Options::decode);
        Ok(options.map(|options| (request, options, prefix.taken())))
    }
}

/// What the exit answers: the address it dialled from, or why there is no connection.
pub type Reply = Result<SocketAddr, DialFailure>;

/// Appends the wire form of `reply` to `out`.
///
/// ```
/// use rp_proxy::open::{decode_reply, encode_reply};
///
/// let mut bytes = Vec::new();
/// encode_reply(&Ok("192.0.2.9:40000".parse()?), &mut bytes);
/// assert_eq!(bytes, [0, 1, 192, 0, 2, 9, 0x9c, 0x40]);
/// assert_eq!(decode_reply(&bytes[..3]), Ok(None), "more bytes are needed");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
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
    let addr = socket_addr(&mut prefix)?;
    Ok(addr.map(|addr| (Ok(addr), prefix.taken())))
}

/// Type, address and port, where no name can stand.
fn socket_addr(prefix: &mut Prefix<'_>) -> Result<Option<SocketAddr>, BadReply> {
    let Some(kind) = prefix.u8() else {
        return Ok(None);
    };
    let ip = prefix.ip(kind).map_err(|_| BadReply)?;
    let (Some(ip), Some(port)) = (ip, prefix.u16()) else {
        return Ok(None);
    };
    Ok(Some(SocketAddr::new(ip, port)))
}

/// The head of a stream that the exit opens: a connection that came to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The number of the stream that asked for the listener.
    pub listener: u64,
    /// Who connected.
    pub peer: SocketAddr,
}

impl Arrival {
    /// Appends the wire form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(KIND_ARRIVAL);
        out.extend_from_slice(&self.listener.to_be_bytes());
        put_ip(self.peer.ip(), out);
        out.extend_from_slice(&self.peer.port().to_be_bytes());
        // No options are defined.
        out.push(0);
    }

    /// Reads the head from the front of `bytes`: it and its length, or `None` while more bytes are
    /// needed.
    ///
    /// # Errors
    /// It can never become one.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadReply> {
        let mut prefix = Prefix::new(bytes);
        match prefix.u8() {
            None => return Ok(None),
            Some(KIND_ARRIVAL) => {}
            Some(_) => return Err(BadReply),
        }
        let Some(listener) = prefix.array().map(u64::from_be_bytes) else {
            return Ok(None);
        };
        let Some(peer) = socket_addr(&mut prefix)? else {
            return Ok(None);
        };
        //= spec/10-proxy.md#listening
        //# A client MUST ignore options of an arrival that it does not know.
        if prefix.counted().is_none() {
            return Ok(None);
        }
        Ok(Some((Self { listener, peer }, prefix.taken())))
    }
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
