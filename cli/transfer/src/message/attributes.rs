//! What a side knows of a file, and its fields in a message.

use std::time::{Duration, SystemTime};

use super::{
    DecodeError,
    fields::{Field, FieldWriter},
    tag,
};

/// What a sender knows of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Length in bytes; `None` for a pipe.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Time of last modification.
    pub modified: Option<Modified>,
}

/// A time of last modification as the wire carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modified {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 10^9.
    pub nanos: u32,
}

impl Modified {
    /// The same instant for `std`; `None` where the system's clock cannot say it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let base = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base?.checked_add(Duration::from_nanos(u64::from(self.nanos)))
    }
}

impl Attributes {
    pub(super) fn encode(&self, fields: &mut FieldWriter<'_>) {
        if let Some(size) = self.size {
            fields.u64(tag::SIZE, size);
        }
        if let Some(mode) = self.mode {
            fields.bytes(tag::MODE, &mode.to_be_bytes());
        }
        if let Some(modified) = self.modified {
            let mut value = [0; 12];
            value[..8].copy_from_slice(&modified.seconds.to_be_bytes());
            value[8..].copy_from_slice(&modified.nanos.to_be_bytes());
            fields.bytes(tag::MODIFIED, &value);
        }
    }

    /// Takes a field that is an attribute; any other is for [`Field::unknown`] to judge.
    pub(super) fn take(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.tag {
            tag::SIZE => self.size = Some(field.u64()?),
            tag::MODE => self.mode = Some(u32::from_be_bytes(field.array()?)),
            tag::MODIFIED => {
                let value: [u8; 12] = field.array()?;
                let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = value;
                let nanos = u32::from_be_bytes([n0, n1, n2, n3]);
                if nanos >= 1_000_000_000 {
                    return Err(DecodeError::Value(tag::MODIFIED));
                }
                let seconds = i64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
                self.modified = Some(Modified { seconds, nanos });
            }
            _ => field.unknown()?,
        }
        Ok(())
    }
}
