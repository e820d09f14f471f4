//! Any message that can be.

use proptest::{collection::vec, option, prelude::*};
use rp_reduce::chunk::Chunk;

use super::super::*;

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

pub(super) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        file_message(),
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

fn file_message() -> impl Strategy<Value = Message> {
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
        ready_message(),
    ]
}

fn ready_message() -> impl Strategy<Value = Message> {
    (
        option::of(any::<u64>()),
        attributes(),
        option::of(any::<Version>()),
        option::of(ranges()),
        (option::of(ranges()), xattrs()),
        (option::of(any::<u64>()), option::of(scale_of())),
    )
        .prop_map(
            |(stream, attributes, version, missing, (holds, xattrs), (older, scale))| {
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
            },
        )
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
