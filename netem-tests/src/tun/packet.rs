//! The few fields of an IP packet the emulator reads or changes: ECN bits, the ports by which flows are
//! told apart, and a bit to damage. It never looks further into the transport.

use crate::link::{Class, Offer};

/// What a link must know of a packet.
pub(super) fn offer(packet: &[u8]) -> Offer {
    Offer {
        bytes: packet.len(),
        is_ecn_capable: is_ecn_capable(packet),
        class: class(packet),
    }
}

/// The protocol inside, where the first header tells it.
fn class(packet: &[u8]) -> Class {
    let protocol = match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(9),
        Some(6) => packet.get(6),
        _ => None,
    };
    match protocol {
        Some(6) => Class::Tcp,
        Some(17) => Class::Udp,
        _ => Class::Other,
    }
}

/// Bits of the two header bytes that carry ECN, as a value 0 to 3 (RFC 3168 section 5).
fn ecn(packet: &[u8]) -> u8 {
    match (packet.first().map(|byte| byte >> 4), packet.get(1)) {
        (Some(4), Some(service)) => service & 3,
        // The traffic class straddles the first two bytes (RFC 8200 section 3).
        (Some(6), Some(second)) => (second >> 4) & 3,
        _ => 0,
    }
}

/// Whether the sender takes part in ECN.
fn is_ecn_capable(packet: &[u8]) -> bool {
    ecn(packet) != 0
}

/// Sets the congestion-experienced mark, and IPv4's checksum with it.
pub(super) fn mark_ce(packet: &mut [u8]) {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            packet[1] |= 3;
            packet[10..12].fill(0);
            let header = usize::from(packet[0] & 0xf) * 4;
            let sum = checksum(&packet[..header.clamp(20, packet.len())]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if packet.len() >= 40 => packet[1] |= 0x30,
        _ => {}
    }
}

/// The port a TCP or UDP packet is sent to; 0 for others and for all but the first fragment.
pub(super) fn destination_port(packet: &[u8]) -> u16 {
    ports(packet).map_or(0, |[_, to]| to)
}

/// The port it comes from, likewise.
pub(super) fn source_port(packet: &[u8]) -> u16 {
    ports(packet).map_or(0, |[from, _]| from)
}

/// From which port to which.
fn ports(packet: &[u8]) -> Option<[u16; 2]> {
    let (protocol, header, is_first) = match packet.first() {
        Some(byte) if byte >> 4 == 4 && packet.len() >= 20 => {
            let offset = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
            (packet[9], usize::from(byte & 0xf) * 4, offset == 0)
        }
        // Extension headers are not followed: the lab's own flows have none.
        Some(byte) if byte >> 4 == 6 && packet.len() >= 40 => (packet[6], 40, true),
        _ => return None,
    };
    match packet.get(header..header + 4)? {
        &[a, b, c, d] if is_first && matches!(protocol, 6 | 17) => {
            Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
        }
        _ => None,
    }
}

/// Turns one bit in the middle, behind any header; the receiving kernel's checksums notice.
pub(super) fn damage(packet: &mut [u8]) {
    let middle = packet.len() / 2 + packet.len() / 4;
    if let Some(byte) = packet.get_mut(middle) {
        *byte ^= 0x10;
    }
}

/// The Internet checksum of a header whose checksum field is zero (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header from RFC 1071's folklore example: the checksum is b861.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn marking_keeps_the_ipv4_checksum_right() {
        let mut packet = HEADER;
        packet[1] = 2;
        assert!(is_ecn_capable(&packet));
        mark_ce(&mut packet);
        assert_eq!(ecn(&packet), 3);
        assert_eq!(checksum(&packet), 0);
    }

    #[test]
    fn ipv6_carries_ecn_across_its_first_bytes() {
        let mut packet = [0u8; 40];
        packet[0] = 0x60;
        assert!(!is_ecn_capable(&packet));
        packet[1] = 0x20;
        assert!(is_ecn_capable(&packet));
        mark_ce(&mut packet);
        assert_eq!(ecn(&packet), 3);
    }

    #[test]
    fn flows_are_told_apart_by_the_port_they_go_to() {
        let mut packet = HEADER.to_vec();
        packet.extend([0x30, 0x39, 0x1c, 0xd1, 0, 8, 0, 0]);
        assert_eq!(destination_port(&packet), 7377);
        assert_eq!(source_port(&packet), 12345);
        // A later fragment has no ports.
        packet[7] = 1;
        assert_eq!(destination_port(&packet), 0);
        packet[7] = 0;
        // ICMP neither.
        packet[9] = 1;
        assert_eq!(destination_port(&packet), 0);
    }

    #[test]
    fn udp_is_told_from_tcp_in_both_versions() {
        let mut packet = HEADER;
        assert_eq!(offer(&packet).class, Class::Udp);
        assert_eq!(offer(&packet).bytes, 20);
        packet[9] = 6;
        assert_eq!(offer(&packet).class, Class::Tcp);
        packet[9] = 1;
        assert_eq!(offer(&packet).class, Class::Other);
        let mut packet = [0u8; 40];
        packet[0] = 0x60;
        packet[6] = 17;
        assert_eq!(offer(&packet).class, Class::Udp);
    }

    #[test]
    fn scraps_are_left_alone() {
        for len in 0..HEADER.len() {
            let mut scrap = HEADER[..len].to_vec();
            assert_eq!(offer(&scrap).bytes, len);
            mark_ce(&mut scrap);
            damage(&mut scrap);
            assert_eq!(destination_port(&scrap), 0);
        }
    }
}
