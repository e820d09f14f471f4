//! The copy engine: what a copy says (`message`), proves (`digest`), may touch (`path`), reads
//! (`source`) and writes (`writer`), and its two halves (`sender`, `receiver`). It knows no network:
//! bytes and messages go in and out, files are `std::io`.

pub mod digest;
pub mod error;
pub mod message;
pub mod path;
pub mod receiver;
pub mod sender;
pub mod session;
pub mod source;
pub mod writer;
