//! Tests of `Reader`.

use super::Reader;

#[test]
fn integers_are_read_in_network_order() {
    let bytes: Vec<u8> = (1..=15).collect();
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.u8(), Ok(0x01));
    assert_eq!(reader.u16(), Ok(0x0203));
    assert_eq!(reader.u32(), Ok(0x0405_0607));
    assert_eq!(reader.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
    assert!(reader.is_empty());
}

#[test]
fn a_failed_step_takes_nothing() {
    let mut reader = Reader::new(&[1, 2, 3]);
    assert!(reader.u32().is_err());
    assert!(reader.bytes(4).is_err());
    assert!(reader.bytes(u64::MAX).is_err());
    assert!(reader.array::<4>().is_err());
    assert_eq!(reader.remaining(), 3);
    assert_eq!(reader.bytes(2), Ok(&[1, 2][..]));
    assert_eq!(reader.rest(), [3]);
    assert!(reader.u8().is_err());
}
