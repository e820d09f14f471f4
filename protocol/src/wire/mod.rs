//! Bytes to values and back, with no state (spec/01-packet.md).
//! Sealing, numbering and what a value means live elsewhere.

pub mod frame;
pub mod header;
pub mod id;
pub mod packet_number;
pub mod params;
pub mod ranges;
pub mod reader;
pub mod varint;

pub use frame::{Frame, FrameError, FrameIter, FrameWriter};
pub use header::{FirstByte, Header, HeaderLayout, PartialHeader};
pub use params::TransportParameters;
pub use ranges::RangeSet;
pub use reader::{DecodeError, Reader};
