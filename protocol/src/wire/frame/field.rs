//! Values of fixed meaning inside frames, each read and written one way.
//! Frames that are nothing but a list of such fields are declared with [`fields!`].

use crate::{
    units::CloseCode,
    wire::{
        id::{ConnectionId, PathId, StreamId},
        reader::{DecodeError, Reader},
        varint,
    },
};

/// A value with one encoding.
pub(super) trait Field: Sized {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn encode(&self, out: &mut Vec<u8>);
    fn encoded_len(&self) -> usize;
}

impl Field for u64 {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, *self);
    }

    fn encoded_len(&self) -> usize {
        varint::len(*self)
    }
}

impl Field for StreamId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint().map(StreamId)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.into_inner());
    }

    fn encoded_len(&self) -> usize {
        varint::len(self.into_inner())
    }
}

impl Field for PathId {
    //= spec/01-packet.md#path-ids
    //# A path id MUST NOT exceed 2^32 - 1.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::try_from(reader.varint()?)
            .map(PathId)
            .map_err(|_| DecodeError::new("path id: above 2^32 - 1"))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, u64::from(self.0));
    }

    fn encoded_len(&self) -> usize {
        varint::len(u64::from(self.0))
    }
}

impl Field for CloseCode {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::try_from(reader.varint()?).map_err(|_| DecodeError::new("close code"))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.into_inner());
    }

    fn encoded_len(&self) -> usize {
        varint::len(self.into_inner())
    }
}

impl Field for ConnectionId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::new)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl<const N: usize> Field for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn encoded_len(&self) -> usize {
        N
    }
}

/// Declares a frame that is its type and then its fields in the order written.
macro_rules! fields {
    (
        $(#[$doc:meta])*
        $name:ident = $kind:expr => {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )+
        }

        impl $name {
            /// Reads the fields after the type.
            pub(in crate::wire::frame) fn decode(
                reader: &mut $crate::wire::reader::Reader<'_>,
            ) -> Result<Self, $crate::wire::reader::DecodeError> {
                $( let $field = <$type as $crate::wire::frame::field::Field>::decode(reader)?; )+
                Ok(Self { $($field),+ })
            }

            /// Appends the frame.
            pub fn encode(&self, out: &mut Vec<u8>) {
                out.push(self.kind());
                $( $crate::wire::frame::field::Field::encode(&self.$field, out); )+
            }

            /// Bytes [`encode`](Self::encode) appends.
            pub fn encoded_len(&self) -> usize {
                1 $( + $crate::wire::frame::field::Field::encoded_len(&self.$field) )+
            }

            /// Its type on the wire.
            pub const fn kind(&self) -> u8 {
                $kind
            }
        }
    };
}

pub(super) use fields;
