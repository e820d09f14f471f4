//! Destinations that nobody may reach, in every spelling that has led somebody astray.

use std::net::{IpAddr, Ipv4Addr};

/// Addresses that the policy without rules refuses, in whatever form they are carried.
pub(crate) const ADDRESSES: &[&str] = &[
    // This machine.
    "127.0.0.1",
    "127.0.0.53",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b:1:7f00:0:100::",
    "64:ff9b:1:2:7f:0:100:0",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:127.0.0.1",
    // Networks that are not the Internet.
    "10.0.0.1",
    "172.16.0.1",
    "192.168.255.255",
    "100.64.0.1",
    "198.18.0.1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::10.0.0.1",
    "2002:a00:1::",
    "fe80::5efe:10.0.0.1",
    // The link, groups, everybody, nobody.
    "169.254.1.1",
    "fe80::1",
    "::ffff:169.254.1.1",
    "224.0.0.251",
    "255.255.255.255",
    "ff02::1",
    "240.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "4000::1",
];

/// Addresses of metadata services, which no rule can open.
pub(crate) const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "2606:4700::5efe:169.254.169.254",
    "2606:4700::a9fe:a9fe",
];

/// What C libraries take for the address of this machine, and RFC 3986 for a name.
pub(crate) const NUMBERS: &[&str] = &[
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "017700000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.00.00.01",
    "127.0.0.1.",
    "0",
    "0x0",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
];

/// Names that lead to forbidden addresses, as the name server of these tests answers for them.
pub(crate) const NAMES: &[&str] = &[
    "loopback.test",
    "loopback.test.",
    "LoopBack.TEST",
    "six.test",
    "mapped.test",
    "nat64.test",
    "six-to-four.test",
    "unspecified.test",
    "private.test",
    "link-local.test",
    "metadata.test",
    "many.test",
    "alias.test",
    "xn--n3h.test",
    "127.0.0.1.nip.test",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "db.localhost",
];

/// What is no host at all, in any front end.
pub(crate) const NO_HOSTS: &[&str] = &[
    "[::1",
    "[::1%lo]",
    "[fe80::1%25eth0]",
    "[127.0.0.1]",
    "[::ffff:127.0.0.1%1]",
    "[1]",
    "%31%32%37.0.0.1",
    "127.0.0.1%00",
    "127.0.0.1%2f",
    "localhost%2e",
    "127.0.0.1\\",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{24db}\u{24de}calhost",
    "local\u{ad}host",
    ".localhost",
    "",
];

/// The addresses the name server of these tests has for `name`.
pub(crate) fn answers(name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let list: &[&str] = match name.as_str() {
        "loopback.test" | "xn--n3h.test" | "127.0.0.1.nip.test" | "db.localhost" => &["127.0.0.1"],
        "six.test" => &["::1"],
        "mapped.test" => &["::ffff:127.0.0.1"],
        "nat64.test" => &["64:ff9b::7f00:1"],
        "six-to-four.test" => &["2002:7f00:1::1"],
        "unspecified.test" => &["0.0.0.0", "::"],
        "private.test" => &["10.0.0.1"],
        "link-local.test" => &["fe80::1", "169.254.1.1"],
        "metadata.test" => &["169.254.169.254", "fd00:ec2::254"],
        "many.test" | "alias.test" => &["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"],
        number => return as_c_reads(number).map(IpAddr::V4).into_iter().collect(),
    };
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// An IPv4 address as `inet_aton` reads it: up to four numbers, decimal, octal or hexadecimal, of which the last
/// takes all bytes that are left.
fn as_c_reads(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, high) = numbers.split_last()?;
    let high = high.iter().enumerate();
    let high: u32 = high.map(|(at, byte)| byte << (24 - 8 * at)).sum();
    Some((high | last).into())
}
