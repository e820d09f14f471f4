//! Transport parameters: what each side promises the other inside the handshake
//! (spec/01-packet.md#transport-parameters). What follows from them lives with their users.

#[cfg(test)]
mod tests;

use super::{reader::Reader, varint};
use crate::{
    error::{TransportCode, TransportError},
    units::Side,
    wire::id::ConnectionId,
};

/// One side's promises. Sent once, authenticated by the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportParameters {
    /// Silence in milliseconds after which the sender gives up; 0 for never.
    pub idle_timeout_ms: u64,
    /// Largest UDP payload the sender takes, at least 1200.
    pub max_udp_payload: u64,
    /// Connection credit before the first MAX_DATA.
    pub initial_max_data: u64,
    /// Credit of every stream before its first MAX_STREAM_DATA.
    pub initial_max_stream_data: u64,
    /// Bidirectional streams the peer may open before the first MAX_STREAMS.
    pub initial_max_streams_bi: u64,
    /// Unidirectional streams the peer may open before the first MAX_STREAMS.
    pub initial_max_streams_uni: u64,
    /// Largest DATAGRAM frame taken, type and length included; 0 for none.
    pub max_datagram: u64,
    /// Paths the sender keeps open at once, at least 1.
    pub max_paths: u64,
    /// The id in the Source field of the sender's first packet.
    pub initial_source_id: Option<ConnectionId>,
    /// Server only: the Destination field of the client's very first packet.
    pub original_destination_id: Option<ConnectionId>,
    /// Server only: the id it gave in a Retry.
    pub retry_source_id: Option<ConnectionId>,
    /// Server only: proof for a stateless reset of the handshake's connection id.
    pub stateless_reset_token: Option<[u8; 16]>,
}

impl Default for TransportParameters {
    /// What a parameter means that is not sent.
    fn default() -> Self {
        Self {
            idle_timeout_ms: 0,
            max_udp_payload: 65527,
            initial_max_data: 0,
            initial_max_stream_data: 0,
            initial_max_streams_bi: 0,
            initial_max_streams_uni: 0,
            max_datagram: 0,
            max_paths: 1,
            initial_source_id: None,
            original_destination_id: None,
            retry_source_id: None,
            stateless_reset_token: None,
        }
    }
}

/// Parameter ids (spec/registry.md#transport-parameters); QUIC's numbers where the meaning is the
/// same.
mod id {
    pub(super) const ORIGINAL_DESTINATION_ID: u64 = 0x00;
    pub(super) const IDLE_TIMEOUT: u64 = 0x01;
    pub(super) const STATELESS_RESET_TOKEN: u64 = 0x02;
    pub(super) const MAX_UDP_PAYLOAD: u64 = 0x03;
    pub(super) const INITIAL_MAX_DATA: u64 = 0x04;
    pub(super) const INITIAL_MAX_STREAM_DATA: u64 = 0x05;
    pub(super) const INITIAL_MAX_STREAMS_BI: u64 = 0x08;
    pub(super) const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
    pub(super) const INITIAL_SOURCE_ID: u64 = 0x0f;
    pub(super) const RETRY_SOURCE_ID: u64 = 0x10;
    pub(super) const MAX_DATAGRAM: u64 = 0x20;
    pub(super) const MAX_PATHS: u64 = 0x31;
}

/// One more than the largest known id: the bits of the duplicate check.
const KNOWN_IDS: u64 = 64;

impl TransportParameters {
    /// Appends every parameter that differs from its default, in ascending order of ids.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let default = Self::default();
        let numbers = |p: &Self| {
            [
                (id::IDLE_TIMEOUT, p.idle_timeout_ms),
                (id::MAX_UDP_PAYLOAD, p.max_udp_payload),
                (id::INITIAL_MAX_DATA, p.initial_max_data),
                (id::INITIAL_MAX_STREAM_DATA, p.initial_max_stream_data),
                (id::INITIAL_MAX_STREAMS_BI, p.initial_max_streams_bi),
                (id::INITIAL_MAX_STREAMS_UNI, p.initial_max_streams_uni),
                (id::MAX_DATAGRAM, p.max_datagram),
                (id::MAX_PATHS, p.max_paths),
            ]
        };
        let numbers = numbers(self)
            .into_iter()
            .zip(numbers(&default))
            .filter(|(mine, default)| mine != default)
            .map(|((id, value), _)| {
                let mut bytes = Vec::with_capacity(varint::len(value));
                varint::put(&mut bytes, value);
                (id, bytes)
            });
        let ids = [
            (id::INITIAL_SOURCE_ID, self.initial_source_id),
            (id::ORIGINAL_DESTINATION_ID, self.original_destination_id),
            (id::RETRY_SOURCE_ID, self.retry_source_id),
        ]
        .into_iter()
        .filter_map(|(id, value)| Some((id, value?.as_bytes().to_vec())));
        let token = self
            .stateless_reset_token
            .map(|token| (id::STATELESS_RESET_TOKEN, token.to_vec()));
        let mut entries: Vec<(u64, Vec<u8>)> = numbers.chain(ids).chain(token).collect();
        entries.sort_by_key(|(id, _)| *id);
        for (id, value) in entries {
            put(out, id, &value);
        }
    }

    /// Reads what `sender` sent.
    pub fn decode(bytes: &[u8], sender: Side) -> Result<Self, TransportError> {
        let mut parameters = Self::default();
        let mut reader = Reader::new(bytes);
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let entry = (|| {
                let id = reader.varint()?;
                let len = reader.varint()?;
                Ok((id, reader.bytes(len)?))
            })();
            let (id, value) =
                entry.map_err(|_: super::DecodeError| error("parameter list ends early"))?;
            //= spec/01-packet.md#transport-parameters
            //# A receiver MUST ignore a parameter whose id it does not know.
            if !parameters.set(id, value, sender)? {
                continue;
            }
            debug_assert!(id < KNOWN_IDS);
            //= spec/01-packet.md#transport-parameters
            //# A receiver MUST refuse a known parameter that appears twice.
            if seen & (1 << id) != 0 {
                return Err(error("duplicate parameter"));
            }
            seen |= 1 << id;
        }
        Ok(parameters)
    }

    /// Takes over one parameter; whether its id is known.
    fn set(&mut self, id: u64, value: &[u8], sender: Side) -> Result<bool, TransportError> {
        match id {
            id::IDLE_TIMEOUT => self.idle_timeout_ms = number(value, 0, u64::MAX)?,
            id::MAX_UDP_PAYLOAD => self.max_udp_payload = number(value, 1200, u64::MAX)?,
            id::INITIAL_MAX_DATA => self.initial_max_data = number(value, 0, u64::MAX)?,
            id::INITIAL_MAX_STREAM_DATA => {
                self.initial_max_stream_data = number(value, 0, u64::MAX)?;
            }
            id::INITIAL_MAX_STREAMS_BI => {
                self.initial_max_streams_bi = number(value, 0, MAX_STREAMS)?;
            }
            id::INITIAL_MAX_STREAMS_UNI => {
                self.initial_max_streams_uni = number(value, 0, MAX_STREAMS)?;
            }
            id::MAX_DATAGRAM => self.max_datagram = number(value, 0, u64::MAX)?,
            id::MAX_PATHS => self.max_paths = number(value, 1, u64::from(u32::MAX))?,
            id::INITIAL_SOURCE_ID => {
                self.initial_source_id = Some(ConnectionId::new(fixed(value)?));
            }
            id::ORIGINAL_DESTINATION_ID => {
                server_only(sender)?;
                self.original_destination_id = Some(ConnectionId::new(fixed(value)?));
            }
            id::RETRY_SOURCE_ID => {
                server_only(sender)?;
                self.retry_source_id = Some(ConnectionId::new(fixed(value)?));
            }
            id::STATELESS_RESET_TOKEN => {
                server_only(sender)?;
                self.stateless_reset_token = Some(fixed(value)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Most streams of one kind (spec/01-packet.md#frames).
const MAX_STREAMS: u64 = 1 << 60;

const fn error(reason: &'static str) -> TransportError {
    TransportError::new(TransportCode::TRANSPORT_PARAMETER_ERROR, reason)
}

fn put(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    varint::put(out, id);
    varint::put(out, value.len() as u64);
    out.extend_from_slice(value);
}

//= spec/01-packet.md#transport-parameters
//# A receiver MUST refuse a parameter whose value is out of range or of the wrong length.
fn number(value: &[u8], min: u64, max: u64) -> Result<u64, TransportError> {
    let mut reader = Reader::new(value);
    match reader.varint() {
        Ok(number) if reader.is_empty() && (min..=max).contains(&number) => Ok(number),
        _ => Err(error("parameter value out of range")),
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], TransportError> {
    value
        .try_into()
        .map_err(|_| error("parameter value of wrong length"))
}

//= spec/01-packet.md#transport-parameters
//# A server MUST refuse original_destination_id, retry_source_id and stateless_reset_token from a
//# client.
fn server_only(sender: Side) -> Result<(), TransportError> {
    match sender {
        Side::Server => Ok(()),
        Side::Client => Err(error("parameter only a server may send")),
    }
}
