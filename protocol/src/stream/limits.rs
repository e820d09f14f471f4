//! The limits streams live in. How they are kept lives with `credit`, `table` and `buffering`.

use std::time::Duration;

use super::credit::Budget;
use crate::{
    config::TransportConfig,
    units::{MAX_VARINT, Side},
};

/// Settings of [`Streams`](super::Streams).
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    pub(super) side: Side,
    pub(super) initial_stream_credit: u64,
    pub(super) max_stream_credit: u64,
    pub(super) max_connection_credit: u64,
    pub(super) send_buffer: u64,
    pub(super) max_streams_bi: u64,
    pub(super) max_streams_uni: u64,
    pub(super) initial_rtt: Duration,
    pub(super) budget: Budget,
}

impl StreamsConfig {
    /// The limits of `transport` for this side, paid for out of `budget`.
    pub fn new(side: Side, transport: &TransportConfig, budget: Budget) -> Self {
        // Half of what the wire can say leaves room for sums.
        let credit = |bytes: u64| bytes.clamp(1, MAX_VARINT / 2);
        let streams = |count: u64| count.min(1 << 31);
        Self {
            side,
            initial_stream_credit: credit(transport.initial_stream_credit),
            max_stream_credit: credit(transport.max_stream_credit),
            max_connection_credit: credit(transport.max_connection_credit),
            send_buffer: transport.send_buffer.max(1),
            max_streams_bi: streams(transport.max_streams_bi),
            max_streams_uni: streams(transport.max_streams_uni),
            initial_rtt: transport.initial_rtt,
            budget,
        }
    }
}
