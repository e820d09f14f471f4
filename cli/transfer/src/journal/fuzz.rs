//! Checks of the journal of a partial file on any bytes, for [`crate::fuzz`].

use super::{header, parse, record};

/// A journal: what is read of one is what a journal of the same content is read as, however it is torn, and it
/// claims no byte that the file does not have.
pub fn journal(data: &[u8]) {
    if let Some(known) = parse(data) {
        assert!(known.bytes() <= known.size);
        let mut written = header(known.size, &known.version);
        for (index, value) in &known.groups {
            written.extend(record(&known.version, *index, value));
        }
        assert!(data.starts_with(&written));
        let missing: u64 = known.missing().iter().map(|(_, length)| length).sum();
        assert!(missing <= known.size);
    }
    // Chance finds no checksum that is right.
    if let Some((size, rest)) = data.split_first_chunk() {
        let (size, version) = (u64::from_be_bytes(*size), [7; 16]);
        let mut torn = header(size, &version);
        torn.extend(record(&version, u64::from(size > 0), &[9; 32]));
        torn.extend(rest);
        let known = parse(&torn).expect("it has a header");
        assert_eq!(known.size, size);
        assert!(known.bytes() <= size);
    }
}
