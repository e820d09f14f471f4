//! Frames in both directions, whole and in pieces.

use super::*;

#[tokio::test]
async fn frames_arrive_as_they_were_written_whatever_the_pieces() {
    let frames = [
        Frame::Data(Bytes::from_static(b"hello")),
        Frame::Failed("no such host".into()),
        Frame::Data(vec![7; READ_BYTES].into()),
        Frame::End,
    ];
    let mut bytes = Vec::new();
    for frame in &frames {
        write_frame(&mut bytes, frame).await.unwrap();
    }
    for piece in [1, 3, 1000, bytes.len()] {
        let mut from = in_pieces(&bytes, piece);
        let mut buffer = BytesMut::new();
        for frame in &frames {
            let read = read_frame(&mut from, &mut buffer).await.unwrap();
            assert_eq!(read.as_ref(), Some(frame), "pieces of {piece}");
        }
        assert_eq!(read_frame(&mut from, &mut buffer).await.unwrap(), None);
    }
}

/// Gives `bytes` in pieces of `len`.
fn in_pieces(bytes: &[u8], len: usize) -> impl AsyncRead + Unpin {
    let (from, mut to) = tokio::io::duplex(len);
    let bytes = bytes.to_vec();
    tokio::spawn(async move { to.write_all(&bytes).await });
    from
}

#[tokio::test]
async fn what_is_no_frame_is_an_error_before_it_takes_memory() {
    for bytes in [&[0, 0xff, 0, 0, 0][..], &[9, 0, 0, 0, 0]] {
        let mut buffer = BytesMut::new();
        assert!(read_frame(&mut &bytes[..], &mut buffer).await.is_err());
    }
}
