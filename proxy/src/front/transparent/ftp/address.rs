//! Addresses of data connections as FTP writes them: six numbers (RFC 959), or a family, an address
//! and a port between bars (RFC 2428).

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV4},
    ops::Range,
};

/// Finds `h1,h2,h3,h4,p1,p2` in `text`: where it stands, and what it means. What stands around it
/// differs between servers (RFC 1123 section 4.1.2.6).
pub(super) fn find_six_numbers(text: &[u8]) -> Option<(Range<usize>, SocketAddrV4)> {
    let is_part = |b: &u8| b.is_ascii_digit() || *b == b',';
    let mut start = 0;
    while start < text.len() {
        if !text[start].is_ascii_digit() {
            start += 1;
            continue;
        }
        let len = text[start..].iter().take_while(|b| is_part(b)).count();
        if let Some(address) = six_numbers(&text[start..start + len]) {
            return Some((start..start + len, address));
        }
        start += len;
    }
    None
}

fn six_numbers(text: &[u8]) -> Option<SocketAddrV4> {
    let text = std::str::from_utf8(text).ok()?;
    let mut numbers = text.split(',').map(str::parse::<u8>);
    let mut next = || numbers.next()?.ok();
    let [a, b, c, d, high, low] = [next()?, next()?, next()?, next()?, next()?, next()?];
    if numbers.next().is_some() {
        return None;
    }
    Some(SocketAddrV4::new(
        [a, b, c, d].into(),
        u16::from_be_bytes([high, low]),
    ))
}

/// `address` as six numbers.
pub(super) fn format_six_numbers(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Reads what follows `EPRT `: `|1|132.235.1.2|6275|`, with any character for the bar.
pub(super) fn parse_extended(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    let bar = text.chars().next().filter(char::is_ascii_graphic)?;
    let mut parts = text.split(bar);
    let (Some(""), Some(family), Some(ip), Some(port), Some(""), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return None;
    };
    let ip: IpAddr = ip.parse().ok()?;
    let is_family = family == if ip.is_ipv4() { "1" } else { "2" };
    is_family.then_some(SocketAddr::new(ip, port.parse().ok()?))
}

/// `address` as EPRT has it.
pub(super) fn format_extended(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

#[cfg(test)]
mod tests;
