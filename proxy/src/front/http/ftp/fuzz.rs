//! Checks of the parsers for FTP servers on any bytes, for [`crate::fuzz`].

use super::{date, listing::Rows, reply::Reply, url::FtpUrl};

/// `ftp` URLs, replies and listings: nothing in a URL becomes another command, and nothing in a listing becomes
/// markup.
pub fn ftp_fetch(data: &[u8]) {
    let url = [b"ftp://", data].concat();
    assert!(FtpUrl::is_one(&url));
    if let Ok(url) = FtpUrl::parse(&url) {
        let login = url.login.map(|login| login.user + &login.password);
        let said = url.path + &login.unwrap_or_default();
        assert!(!said.contains(['\r', '\n', '\0']));
    }
    if let Ok(Some((reply, len))) = Reply::parse(data) {
        assert!(len <= data.len() && (100..600).contains(&reply.code));
        assert!(!reply.text.contains(char::is_control));
        for cut in 0..len {
            assert_eq!(Reply::parse(&data[..cut]), Ok(None), "{cut} of {len} bytes");
        }
        let _ = (reply.passive_addr(), reply.extended_port(), reply.size());
    }
    let whole = {
        let mut rows = Rows::new("folder");
        rows.push(data) + &rows.finish()
    };
    let mut rows = Rows::new("folder");
    let pieces: String = data.chunks(3).map(|piece| rows.push(piece)).collect();
    assert_eq!(pieces + &rows.finish(), whole);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = date::parse(text);
    }
}
