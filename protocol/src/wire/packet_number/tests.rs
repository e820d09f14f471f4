//! Tests of packet-number truncation, with the examples of RFC 9000 appendices A.2 and A.3.

use proptest::prelude::*;

use super::{Truncated, decode, encode_len};
use crate::{testing::proptest_config, units::MAX_VARINT};

#[test]
fn the_examples_of_rfc_9000_come_out() {
    assert_eq!(encode_len(0xac_5c02, Some(0xab_e8b3)), 2);
    assert_eq!(encode_len(0xac_e8fe, Some(0xab_e8b3)), 3);
    assert_eq!(decode(0xa82f_30eb, 0x9b32, 2), 0xa82f_9b32);
}

#[test]
fn the_form_covers_more_than_twice_the_distance() {
    //= spec/01-packet.md#packet-numbers
    //= type=test
    //# A sender MUST use a form that covers more than twice the distance between the packet's number
    //# and the largest number it knows to be acknowledged on that path.
    for acked in [0, 1000, MAX_VARINT / 2] {
        for distance in [1, 127, 128, 32_767, 32_768, 8_388_607, 8_388_608, 1 << 30] {
            let len = encode_len(acked + distance, Some(acked));
            assert!(
                1_u64 << (8 * len) > 2 * distance,
                "{distance} in {len} bytes"
            );
            if len > 2 {
                assert!(
                    1_u64 << (8 * (len - 1)) <= 2 * distance,
                    "{distance} in {len} bytes"
                );
            }
        }
    }
    assert_eq!(encode_len(0, None), 2);
    assert_eq!(encode_len(0x7ffe, None), 2);
    assert_eq!(encode_len(0x7fff, None), 3);
}

//= spec/01-packet.md#packet-numbers
//= type=test
//# A sender SHOULD use at least two bytes.
#[test]
fn packet_that_thousands_overtake_is_read_right() {
    for late in [0, 127, 128, 129, 30_000] {
        let number = 100_000;
        let sent = Truncated::new(number, Some(number - 1));
        let read = decode(number + late + 1, sent.bits(), sent.encoded_len());
        assert_eq!(read, number, "{late} later packets came first");
    }
}

#[test]
fn numbers_at_both_ends_of_the_space_decode() {
    assert_eq!(decode(0, 0, 1), 0);
    assert_eq!(decode(1, 0xff, 1), 0xff);
    let low = u32::try_from(MAX_VARINT & 0xff).unwrap();
    assert_eq!(decode(MAX_VARINT + 1, low, 1), MAX_VARINT);
    // The candidate one window up would leave the space.
    assert_eq!(decode(MAX_VARINT, 0, 1), MAX_VARINT - 0xff);
}

#[test]
fn the_encoded_form_holds_the_low_bytes() {
    let mut out = Vec::new();
    Truncated::with_len(0x1234_5678, 3).encode(&mut out);
    assert_eq!(out, [0x34, 0x56, 0x78]);
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn a_receiver_between_the_acked_and_the_sent_reads_it_right(
        acked in 0..MAX_VARINT / 2,
        distance in 1_u64..1 << 31,
        progress in 0.0..1.0_f64,
        shift in 0..31_u32,
    ) {
        //= spec/01-packet.md#packet-numbers
        //= type=test
        //# A receiver MUST take the number closest to one more than the largest number it has opened on
        //# that path whose low bits are those received.
        let distance = (distance >> shift).max(1);
        let number = acked + distance;
        let truncated = Truncated::new(number, Some(acked));
        // It has opened something from `acked` up to as far beyond the number again.
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a number that fits")]
        let opened = acked + (progress * 2.0 * distance as f64) as u64;
        let read = decode(opened + 1, truncated.bits(), truncated.encoded_len());
        prop_assert_eq!(read, number);
    }

    #[test]
    fn the_closest_candidate_is_taken(
        expected in 0..=MAX_VARINT,
        shift in 0..62_u32,
        bits in any::<u32>(),
        len in 1_usize..=4,
    ) {
        let expected = expected >> shift;
        let window = 1_u64 << (8 * len);
        let read = decode(expected, bits, len);
        prop_assert!(read <= MAX_VARINT);
        prop_assert_eq!(read % window, u64::from(bits) % window);
        let closest = [read.checked_sub(window), read.checked_add(window)]
            .into_iter()
            .flatten()
            .filter(|&other| other <= MAX_VARINT)
            .all(|other| other.abs_diff(expected) >= read.abs_diff(expected));
        prop_assert!(closest, "{} for {}", read, expected);
    }
}
