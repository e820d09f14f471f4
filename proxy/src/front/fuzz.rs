//! Checks of the front ends' parsers on any bytes, for [`crate::fuzz`].

use super::{Parsed, socks4, socks5, socks5_udp};

pub use super::{
    http::fuzz::{ftp_fetch, http, pac},
    transparent::fuzz::ftp_follower,
};

/// SOCKS4 and SOCKS5: a parser takes no more than there is, and the same whatever follows.
pub fn socks(data: &[u8]) {
    whole_and_cut(data, socks4::parse_request);
    whole_and_cut(data, socks5::parse_greeting);
    whole_and_cut(data, |bytes| {
        socks5::parse_login(bytes).map(|login| login.map(|(_, len)| ((), len)))
    });
    whole_and_cut(data, socks5::parse_request);
    whole_and_cut(data, socks5::parse_address);
    if let Ok((_, head)) = socks5_udp::parse_datagram(data) {
        assert!(head <= data.len());
        assert!(socks5_udp::parse_datagram(&data[..head]).is_ok());
    }
}

/// Checks that `parse` finds the same value in all bytes and in those it takes, and none in fewer.
fn whole_and_cut<T, E>(data: &[u8], parse: impl Fn(&[u8]) -> Parsed<T, E>)
where
    T: PartialEq + std::fmt::Debug,
{
    let Ok(Some((value, len))) = parse(data) else {
        return;
    };
    assert!(len <= data.len());
    match parse(&data[..len]) {
        Ok(again) => assert_eq!(again, Some((value, len))),
        Err(_) => unreachable!("it was understood with more behind it"),
    }
    for cut in 0..len {
        assert!(
            matches!(parse(&data[..cut]), Ok(None)),
            "{cut} of {len} bytes"
        );
    }
}
