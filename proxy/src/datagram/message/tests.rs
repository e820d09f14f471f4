//! Datagrams fed byte by byte and made up.

use proptest::prelude::*;

use super::*;

fn datagram(address: &str, payload: &[u8]) -> Datagram {
    Datagram {
        address: Target::parse(address, None).unwrap(),
        payload: Bytes::copy_from_slice(payload),
    }
}

#[test]
fn a_datagram_in_a_stream_is_complete_with_its_last_byte_and_not_before() {
    for address in ["example.com:53", "192.0.2.1:1", "[2001:db8::1]:65535"] {
        for payload in [&b""[..], b"x", &[7; 3000]] {
            let datagram = datagram(address, payload);
            let bytes = datagram.encode_in_stream();
            let mut read = BytesMut::new();
            for byte in &bytes[..bytes.len() - 1] {
                read.extend_from_slice(&[*byte]);
                assert_eq!(Datagram::take_from_stream(&mut read), Ok(None));
            }
            read.extend_from_slice(&bytes[bytes.len() - 1..]);
            read.extend_from_slice(b"next");
            assert_eq!(Datagram::take_from_stream(&mut read), Ok(Some(datagram)));
            assert_eq!(&read[..], b"next");
        }
    }
}

#[test]
fn the_longest_payload_fits_a_stream() {
    let datagram = datagram("192.0.2.1:1", &vec![1; MAX_PAYLOAD_BYTES]);
    let mut read = BytesMut::from(&datagram.encode_in_stream()[..]);
    assert_eq!(Datagram::take_from_stream(&mut read), Ok(Some(datagram)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        if let Ok((association, datagram)) = Datagram::decode_frame(&bytes.clone().into()) {
            let again = datagram.encode_frame(association);
            prop_assert_eq!(Datagram::decode_frame(&again), Ok((association, datagram)));
        }
        let mut read = BytesMut::from(&bytes[..]);
        while let Ok(Some(datagram)) = Datagram::take_from_stream(&mut read) {
            let mut again = BytesMut::from(&datagram.encode_in_stream()[..]);
            prop_assert_eq!(Datagram::take_from_stream(&mut again), Ok(Some(datagram)));
        }
    }
}
