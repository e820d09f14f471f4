//! The copy engine: what a copy says (`message`), proves (`digest`), may touch (`path`), reads
//! (`source`) and writes (`writer`), and its two halves: for one file `sender` and `receiver`, for many small
//! ones `batch`, which `walk` has found, or `glob`; `relay` passes on what comes from elsewhere; `simple` answers what needs no data. It knows no network: bytes and
//! messages go in and out, files are `std::io`.

pub mod batch;
pub mod digest;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod glob;
mod journal;
pub mod message;
mod older;
pub mod path;
pub mod receiver;
pub mod relay;
pub mod sender;
pub mod session;
pub mod simple;
pub mod source;
pub mod tree_copy;
pub mod tree_journal;
pub mod walk;
pub mod writer;
pub mod xattrs;
