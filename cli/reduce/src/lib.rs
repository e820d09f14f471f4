//! What two sides have in common is found by *chunks*: pieces that end where their content says, so that bytes
//! put in or taken out move the ends near them and no others (spec/30-reduction.md). Bytes go in, chunks come
//! out; whose they are and what is done with them is not known here.

pub mod chunk;
pub mod id;
