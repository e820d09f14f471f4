//! Every work can be done; what it costs is counted elsewhere.

use super::*;

#[test]
fn every_work_can_be_done() {
    for name in NAMES {
        Work::new(name).expect(name).run();
    }
    assert!(Work::new("idle").is_none());
}

#[test]
fn a_sealed_packet_opens_at_the_other_end() {
    let (mut near, mut far) = data_keys().unwrap();
    let (packets, layout) = packets();
    let mut packet = packets[0].clone();
    near.seal(PathId::INITIAL, 0, &mut packet, layout).unwrap();
    assert_ne!(packet[..100], packets[0][..100]);
    open(&mut far, 0, BytesMut::from(&packet[..]));
}
