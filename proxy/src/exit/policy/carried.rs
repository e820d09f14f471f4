//! The addresses another address leads to: IPv4 in IPv6, where a translator or tunnel on the way
//! knows the form, and this host in the unspecified address. Whether they may be dialled is
//! decided above.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the bytes of the IPv4 address lie for each prefix length of RFC 6052 section 2.2, the
/// longest first: 96, 64, 56, 48, 40, 32. Byte 8 is kept free.
const FORMS: [[usize; 4]; 6] = [
    [12, 13, 14, 15],
    [9, 10, 11, 12],
    [7, 9, 10, 11],
    [6, 7, 9, 10],
    [5, 6, 7, 9],
    [4, 5, 6, 7],
];

/// Those of [`FORMS`] that a prefix inside a /48 can have.
const LOCAL_FORMS: usize = 4;

/// The addresses `ip` certainly leads to.
pub(super) fn certain(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let found = match ip {
        // A connection to the unspecified address goes to this host.
        IpAddr::V4(ip) => [
            ip.is_unspecified().then_some(Ipv4Addr::LOCALHOST.into()),
            None,
            None,
        ],
        IpAddr::V6(ip) => [
            by_prefix(ip).map(IpAddr::V4),
            isatap(ip).map(IpAddr::V4),
            ip.is_unspecified().then_some(Ipv6Addr::LOCALHOST.into()),
        ],
    };
    found.into_iter().flatten()
}

/// The addresses one of which `ip` leads to: in `64:ff9b::/32`, where every network chooses the
/// prefix of its translator (RFC 8215), each length gives another address.
pub(super) fn possible(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let local = match ip {
        IpAddr::V6(ip) if is_local_nat64(ip) => Some(ip.octets()),
        _ => None,
    };
    local.into_iter().flat_map(|octets| {
        let readings = FORMS[..LOCAL_FORMS].iter();
        // No translator sends to "this network": it is what the free bytes of another form read as.
        readings
            .map(move |form| read(octets, *form))
            .filter(|ip| ip.octets()[0] != 0)
            .map(IpAddr::V4)
    })
}

/// The addresses that `ip` carries if its prefix, whatever it is, is that of a translator: in each
/// form of RFC 6052 whose free bytes are zero.
pub(super) fn embedded(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let octets = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip.octets()),
    };
    octets.into_iter().flat_map(|octets| {
        let is_whole = move |form: &&[usize; 4]| {
            let suffix = &octets[form[3] + 1..];
            form[3] == 15 || octets[8] == 0 && suffix.iter().all(|&byte| byte == 0)
        };
        let whole = FORMS.iter().filter(is_whole);
        whole.map(move |form| IpAddr::V4(read(octets, *form)))
    })
}

/// Whether the whole of `ip` is a form of an IPv4 address.
pub(super) fn is_form_of_ipv4(ip: Ipv6Addr) -> bool {
    by_prefix(ip).is_some()
}

/// The IPv4 address of the forms that have a prefix of their own.
fn by_prefix(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let low = || read(octets, FORMS[0]);
    match ip.segments() {
        // RFC 4291 section 2.5.3: no IPv4-compatible address, although it has the form of one.
        [0, 0, 0, 0, 0, 0, 0, 1] => None,
        // RFC 4291 section 2.5.5.1, IPv4-compatible (deprecated).
        [0, 0, 0, 0, 0, 0, ..] => Some(low()),
        // RFC 2765, IPv4-translated.
        [0, 0, 0, 0, 0xffff, 0, ..] => Some(low()),
        // RFC 6052, NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(low()),
        // RFC 3056, 6to4.
        [0x2002, ..] => Some(read(octets, [2, 3, 4, 5])),
        // RFC 4380, Teredo: the client's address, inverted.
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!low().to_bits())),
        _ => None,
    }
}

/// RFC 5214 section 6.1, ISATAP interface identifiers, which any prefix may stand before.
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    (matches!(s[4], 0 | 0x200) && s[5] == 0x5efe).then(|| read(ip.octets(), FORMS[0]))
}

/// RFC 8215: the addresses around the well-known prefix of NAT64.
fn is_local_nat64(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    s[..2] == [0x64, 0xff9b] && s[2..6] != [0; 4]
}

fn read(octets: [u8; 16], at: [usize; 4]) -> Ipv4Addr {
    Ipv4Addr::from(at.map(|at| octets[at]))
}
