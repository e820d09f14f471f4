//! Checks of the follower of FTP control connections on any bytes, for [`crate::fuzz`].

use super::{
    address::{find_six_numbers, format_extended, format_six_numbers, parse_extended},
    follower::{Follower, Step},
};

/// The follower: whatever comes passes unchanged but for what is named, in any pieces.
pub fn ftp_follower(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let size = usize::from(choice % 16) + 1;
    for feed in [Follower::on_client, Follower::on_server] {
        let mut follower = Follower::default();
        if choice >= 128 {
            // From here on a reply may begin a sealed exchange.
            drop(follower.on_client(b"AUTH TLS\r\n"));
        }
        let mut passed = Vec::new();
        let mut pieces = data.chunks(size);
        for piece in pieces.by_ref() {
            for step in feed(&mut follower, piece) {
                match step {
                    Step::Pass(bytes) => passed.extend(bytes),
                    Step::Passive(naming) | Step::Active(naming) => {
                        let again = naming.renamed(naming.address);
                        assert!(again.ends_with(b"\n"));
                        passed.extend(naming.line);
                    }
                }
            }
            if follower.is_opaque() {
                break;
            }
        }
        for held in follower.held() {
            passed.extend(held);
        }
        pieces.for_each(|piece| passed.extend(piece));
        assert_eq!(passed, data);
    }
    if let Some((span, address)) = find_six_numbers(data) {
        let text = format_six_numbers(address);
        let again = find_six_numbers(text.as_bytes());
        assert_eq!(again, Some((0..text.len(), address)));
        assert!(span.end <= data.len());
    }
    if let Some(address) = parse_extended(data) {
        assert_eq!(
            parse_extended(format_extended(address).as_bytes()),
            Some(address)
        );
    }
}
