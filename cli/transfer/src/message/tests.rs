//! Messages survive the wire, and bad ones are named.

use proptest::{collection::vec, prelude::*};

use self::any::message;
use super::*;

mod any;

/// A message of `kind` with the given fields, without its length prefix.
fn body(kind: u16, fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = FieldWriter::new(&mut out, kind);
    for (tag, value) in fields {
        writer.bytes(*tag, value);
    }
    writer.finish();
    out.split_off(LENGTH_PREFIX)
}

proptest! {
    #[test]
    fn messages_come_back_from_any_split(messages in vec(message(), 0..6), cut in 1usize..40) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        for piece in bytes.chunks(cut) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message().unwrap() {
                seen.push(message);
            }
        }
        prop_assert_eq!(seen, messages);
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn any_bytes_decode_or_fail_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_message() {}
    }

    #[test]
    fn a_damaged_message_never_grows(message in message(), at: prop::sample::Index, byte: u8) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let mut body = bytes.split_off(LENGTH_PREFIX);
        let index = at.index(body.len());
        body[index] = byte;
        if let Ok(decoded) = Message::decode(&body) {
            let mut again = Vec::new();
            decoded.encode(&mut again);
            // Text that is not UTF-8 is replaced, three bytes for one.
            prop_assert!(again.len() <= LENGTH_PREFIX + 3 * body.len());
        }
    }
}

#[test]
fn a_length_out_of_bounds_is_refused_from_its_prefix_alone() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A length below 2 or above 65536 MUST be refused before any memory is set aside for it.
    for length in [0, 1, 65537, u32::MAX] {
        let mut decoder = Decoder::new();
        decoder.push(&length.to_be_bytes());
        assert_eq!(decoder.next_message(), Err(DecodeError::Length(length)));
    }
}

#[test]
fn a_tag_that_occurs_twice_is_refused() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A message that holds the same tag twice MUST be refused.
    let twice = body(kind::GET, &[(tag::PATH, b"a"), (tag::PATH, b"b")]);
    assert_eq!(
        Message::decode(&twice),
        Err(DecodeError::Repeated(tag::PATH))
    );
}

#[test]
fn a_missing_required_field_is_refused() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A message that lacks a field marked required MUST be refused.
    for (kind, missing) in [
        (kind::PUT, tag::PUT_STREAM),
        (kind::GET, tag::PATH),
        (kind::DIGEST, tag::DIGEST_SIZE),
        (kind::DONE, tag::DONE_STATUS),
    ] {
        assert_eq!(
            Message::decode(&body(kind, &[])),
            Err(DecodeError::Missing(missing))
        );
    }
}

#[test]
fn a_value_of_the_wrong_length_is_refused() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A value whose length does not fit its field MUST be refused.
    let short = body(kind::PUT, &[(tag::PUT_STREAM, b"1234567")]);
    assert_eq!(
        Message::decode(&short),
        Err(DecodeError::Value(tag::PUT_STREAM))
    );
    let long = body(kind::READY, &[(tag::MODIFIED, &[0; 13])]);
    assert_eq!(
        Message::decode(&long),
        Err(DecodeError::Value(tag::MODIFIED))
    );
    let nanos = body(kind::READY, &[(tag::MODIFIED, &[0xff; 12])]);
    assert_eq!(
        Message::decode(&nanos),
        Err(DecodeError::Value(tag::MODIFIED))
    );
}

#[test]
fn unknown_fields_are_ignored_when_even_and_refused_when_odd() {
    //= spec/20-copy.md#messages
    //= type=test
    //# An unknown field with an even tag MUST be ignored.
    let even = body(kind::GET, &[(tag::PATH, b"a"), (1000, b"later")]);
    let path = b"a".to_vec();
    assert_eq!(
        Message::decode(&even),
        Ok(Message::Get(Get {
            path,
            ..Get::default()
        }))
    );
    //= spec/20-copy.md#messages
    //= type=test
    //# An unknown field with an odd tag MUST be refused with status unsupported, because the
    //# peer relies on it being understood.
    let odd = body(kind::GET, &[(tag::PATH, b"a"), (1001, b"later")]);
    let error = Message::decode(&odd).unwrap_err();
    assert_eq!(
        error,
        DecodeError::UnknownField {
            kind: kind::GET,
            tag: 1001
        }
    );
    assert_eq!(error.status(), Status::Unsupported);
}

#[test]
fn an_unknown_kind_is_unsupported() {
    //= spec/20-copy.md#messages
    //= type=test
    //# A message of unknown kind MUST be refused with status unsupported.
    let error = Message::decode(&body(77, &[])).unwrap_err();
    assert_eq!(error, DecodeError::UnknownKind(77));
    assert_eq!(error.status(), Status::Unsupported);
}

#[test]
fn an_unknown_status_means_failed() {
    //= spec/20-copy.md#status
    //= type=test
    //# An unknown status MUST be treated as failed.
    assert_eq!(Status::from_wire(13), Status::Failed);
    assert_eq!(Status::from_wire(u64::MAX), Status::Failed);
    for status in Status::ALL {
        assert_eq!(Status::from_wire(status.to_wire()), status);
    }
}

#[test]
fn a_stream_that_ends_inside_a_message_is_incomplete() {
    let mut bytes = Vec::new();
    let get = Get {
        path: vec![b'a'],
        ..Get::default()
    };
    Message::Get(get).encode(&mut bytes);
    let mut decoder = Decoder::new();
    decoder.push(&bytes[..bytes.len() - 1]);
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.finish(), Err(DecodeError::Incomplete));
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let text = "ä".repeat(MAX_TEXT);
    let mut bytes = Vec::new();
    Message::Done(Done {
        status: Status::Failed,
        text,
    })
    .encode(&mut bytes);
    let Ok(Message::Done(done)) = Message::decode(&bytes[LENGTH_PREFIX..]) else {
        panic!("a Done message");
    };
    assert_eq!(done.text, "ä".repeat(MAX_TEXT / 2));
}

#[test]
fn ranges_that_are_none_are_refused() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# Ranges that overlap, are empty or not in ascending order MUST be refused.
    for ranges in [
        vec![(0, 0)],
        vec![(5, 5), (9, 1)],
        vec![(9, 1), (5, 1)],
        vec![(u64::MAX, 2)],
    ] {
        let mut bytes = Vec::new();
        Message::Again(Again { ranges }).encode(&mut bytes);
        let refused = Message::decode(&bytes[LENGTH_PREFIX..]);
        assert_eq!(refused, Err(DecodeError::Value(tag::RANGES)));
    }
    let cut = body(kind::AGAIN, &[(tag::RANGES, &[0; 15])]);
    assert_eq!(Message::decode(&cut), Err(DecodeError::Value(tag::RANGES)));
}

#[test]
fn more_ranges_than_a_message_holds_become_coarser() {
    let ranges: Ranges = (0..9000).map(|index| (index * 10, 5)).collect();
    let coarse = coarsened(ranges);
    let last = coarse.last().unwrap();
    assert_eq!((coarse.len(), last.0 + last.1), (4000, 8999 * 10 + 5));
    let mut bytes = Vec::new();
    let again = Message::Again(Again { ranges: coarse });
    again.encode(&mut bytes);
    assert_eq!(Message::decode(&bytes[LENGTH_PREFIX..]), Ok(again));
}
