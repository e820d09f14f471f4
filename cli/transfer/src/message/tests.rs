//! Messages survive the wire, and bad ones are named.

use proptest::{collection::vec, option, prelude::*};
use rp_reduce::chunk::Chunk;

use super::*;

fn attributes() -> impl Strategy<Value = Attributes> {
    let modified = (any::<i64>(), 0..1_000_000_000u32)
        .prop_map(|(seconds, nanos)| Modified { seconds, nanos });
    (
        option::of(any::<u64>()),
        option::of(any::<u32>()),
        option::of(modified),
    )
        .prop_map(|(size, mode, modified)| Attributes {
            size,
            mode,
            modified,
        })
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = || vec(any::<u8>(), 0..300);
    prop_oneof![
        (
            any::<u64>(),
            bytes(),
            bytes(),
            attributes(),
            any::<[bool; 3]>(),
            durability(),
            (
                option::of(any::<Version>()),
                resume(),
                option::of(ranges()),
                xattrs(),
            ),
            (copy(), option::of(bytes())),
        )
            .prop_map(
                |(
                    stream,
                    path,
                    name,
                    attributes,
                    [preserve, tree, sparse],
                    durability,
                    (version, resume, holds, xattrs),
                    (copy, folder),
                )| Message::Put(Put {
                    copy,
                    folder,
                    sparse,
                    holds,
                    xattrs,
                    version,
                    resume,
                    stream,
                    path,
                    name,
                    attributes,
                    preserve,
                    tree,
                    durability,
                })
            ),
        (
            bytes(),
            option::of(any::<Version>()),
            option::of(ranges()),
            any::<[bool; 2]>(),
            option::of(any::<u64>()),
        )
            .prop_map(
                |(path, version, missing, [xattrs, sparse], older)| Message::Get(Get {
                    path,
                    version,
                    missing,
                    xattrs,
                    sparse,
                    older,
                })
            ),
        (
            option::of(any::<u64>()),
            attributes(),
            option::of(any::<Version>()),
            option::of(ranges()),
            (option::of(ranges()), xattrs()),
            (option::of(any::<u64>()), option::of(scale_of())),
        )
            .prop_map(|(stream, attributes, version, missing, (holds, xattrs), (older, scale))| {
                Message::Ready(Ready {
                    holds,
                    xattrs,
                    stream,
                    attributes,
                    version,
                    missing,
                    older,
                    scale,
                })
            }),
        (any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(size, digest)| Message::Digest(Digest { size, digest })),
        (0..Status::ALL.len(), "[ -~]{0,200}").prop_map(|(status, text)| Message::Done(Done {
            status: Status::ALL[status],
            text,
        })),
        Just(Message::Working),
        tree_message(),
        part_message(),
        older_message(),
    ]
}

fn scale_of() -> impl Strategy<Value = Scale> {
    (14..=24_u8).prop_map(|scale| Scale::from_wire(scale).unwrap())
}

fn older_message() -> impl Strategy<Value = Message> {
    let chunk = (any::<u32>(), any::<[u8; 16]>()).prop_map(|(length, id)| Chunk {
        length: length.into(),
        id: id.into(),
    });
    prop_oneof![
        (any::<u64>(), scale_of())
            .prop_map(|(stream, scale)| Message::Delta(Delta { stream, scale })),
        vec(chunk, 0..20).prop_map(|chunks| Message::Chunks(Chunks { chunks })),
        (any::<u64>(), ranges(), any::<u64>()).prop_map(|(through, ranges, taken)| {
            Message::Want(Want {
                through,
                ranges,
                taken,
            })
        }),
    ]
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let named = ("user\\.[a-z]{1,9}", vec(any::<u8>(), 0..40));
    vec(named, 0..4).prop_map(|named| {
        let mut bytes = Vec::new();
        for (name, value) in named {
            bytes.push(u8::try_from(name.len()).unwrap());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&value);
        }
        Xattrs::from_bytes(&bytes).unwrap()
    })
}

fn resume() -> impl Strategy<Value = Resume> {
    prop_oneof![
        Just(Resume::Auto),
        Just(Resume::Never),
        Just(Resume::Verify),
    ]
}

fn ranges() -> impl Strategy<Value = Ranges> {
    vec((0..1u64 << 40, 1..1u64 << 40), 0..20).prop_map(|gaps| {
        let mut end = 0;
        gaps.into_iter()
            .map(|(gap, length)| {
                let start = end + gap;
                end = start + length;
                (start, length)
            })
            .collect()
    })
}

fn part_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<u64>(), ranges())
            .prop_map(|(stream, ranges)| Message::Data(Data { stream, ranges })),
        (any::<u64>(), vec(any::<[u8; 32]>(), 0..20))
            .prop_map(|(first, values)| Message::Groups(Groups { first, values })),
        ranges().prop_map(|ranges| Message::Again(Again { ranges })),
        any::<u64>().prop_map(|size| Message::Sent(Sent { size })),
    ]
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![
        Just(Durability::Batch),
        Just(Durability::File),
        Just(Durability::None),
    ]
}

fn copy() -> impl Strategy<Value = Option<CopyId>> {
    option::of(any::<CopyId>())
}

fn entry() -> impl Strategy<Value = Message> {
    let bytes = || vec(any::<u8>(), 0..300);
    let kind = prop_oneof![
        Just(Kind::File),
        Just(Kind::Folder),
        Just(Kind::Link),
        Just(Kind::HardLink),
        Just(Kind::Other),
    ];
    let failure = option::of((0..Status::ALL.len(), "[ -~]{0,200}"));
    let proofs = (option::of(any::<[u8; 32]>()), option::of(any::<Version>()));
    let more = (any::<bool>(), option::of(any::<Version>()), xattrs());
    (bytes(), kind, attributes(), bytes(), proofs, failure, more).prop_map(
        |(path, kind, attributes, target, (digest, version), failure, more)| {
            let (is_mount, same, xattrs) = more;
            Message::Entry(Entry {
                path,
                kind,
                attributes,
                target,
                digest,
                version,
                is_mount,
                same,
                xattrs,
                failure: failure.map(|(status, text)| Done {
                    status: Status::ALL[status],
                    text,
                }),
            })
        },
    )
}

fn tree_message() -> impl Strategy<Value = Message> {
    let bytes = || vec(any::<u8>(), 0..300);
    let depth = prop_oneof![Just(Depth::Itself), Just(Depth::Entries), Just(Depth::All)];
    prop_oneof![
        entry(),
        (
            bytes(),
            depth,
            any::<[bool; 5]>(),
            (copy(), option::of(any::<u32>()), bytes())
        )
            .prop_map(
                |(
                    path,
                    depth,
                    [follow, journal, verify, one_file_system, xattrs],
                    (copy, count, pattern),
                )| {
                    Message::List(List {
                        path,
                        depth,
                        follow,
                        journal,
                        copy,
                        verify,
                        one_file_system,
                        xattrs,
                        count,
                        pattern,
                    })
                }
            ),
        (
            any::<[u64; 2]>(),
            bytes(),
            any::<[bool; 3]>(),
            durability(),
            copy()
        )
            .prop_map(
                |([stream, after], path, [preserve, last, sparse], durability, copy)| {
                    Message::PutBatch(PutBatch {
                        stream,
                        path,
                        preserve,
                        durability,
                        last,
                        copy,
                        after,
                        sparse,
                    })
                }
            ),
        vec(any::<Mark>(), 0..50).prop_map(|marks| Message::There(There { marks })),
        (bytes(), any::<u32>(), any::<bool>()).prop_map(|(path, count, xattrs)| {
            Message::GetBatch(GetBatch {
                path,
                count,
                xattrs,
            })
        }),
        (bytes(), any::<u32>())
            .prop_map(|(path, count)| Message::RemoveBatch(RemoveBatch { path, count })),
        bytes().prop_map(|path| Message::MakeFolder(MakeFolder { path })),
        (bytes(), any::<bool>())
            .prop_map(|(path, recursive)| Message::Remove(Remove { path, recursive })),
    ]
}

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
