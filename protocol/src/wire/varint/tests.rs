//! Tests of `varint` together with `Reader::varint`.

use proptest::prelude::*;

use super::{len, put};
use crate::{testing::proptest_config, units::MAX_VARINT, wire::Reader};

fn encoded(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

#[test]
fn values_at_the_edges_of_each_length_take_the_shortest_form() {
    //= spec/01-packet.md#variable-length-integers
    //= type=test
    //# A sender SHOULD use the shortest.
    for (value, expected) in [
        (0, 1),
        (63, 1),
        (64, 2),
        (16_383, 2),
        (16_384, 4),
        (1_073_741_823, 4),
        (1_073_741_824, 8),
        (MAX_VARINT, 8),
    ] {
        assert_eq!(len(value), expected, "{value}");
        assert_eq!(encoded(value).len(), expected, "{value}");
    }
}

#[test]
fn every_length_that_holds_a_value_is_read() {
    //= spec/01-packet.md#variable-length-integers
    //= type=test
    //# A receiver MUST accept a value in any of the four lengths that hold it.
    for bytes in [
        &[37][..],
        &[0x40, 37],
        &[0x80, 0, 0, 37],
        &[0xc0, 0, 0, 0, 0, 0, 0, 37],
    ] {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.varint(), Ok(37));
        assert!(reader.is_empty());
    }
}

#[test]
fn a_cut_off_integer_is_an_error() {
    let whole = encoded(MAX_VARINT);
    for len in 0..whole.len() {
        assert!(Reader::new(&whole[..len]).varint().is_err(), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn what_is_written_is_read(value in 0..=MAX_VARINT, shift in 0..62_u32) {
        //= spec/01-packet.md#variable-length-integers
        //= type=test
        //# A variable-length integer MUST NOT exceed 2^62 - 1.
        let value = value >> shift;
        let bytes = encoded(value);
        prop_assert_eq!(bytes.len(), len(value));
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.varint(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn no_eight_bytes_read_above_the_largest(bytes in any::<[u8; 8]>()) {
        prop_assert!(Reader::new(&bytes).varint().is_ok_and(|value| value <= MAX_VARINT));
    }
}
