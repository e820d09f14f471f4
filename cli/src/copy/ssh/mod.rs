//! Copies over ssh: the user's `ssh` starts `rpcp --server` at the far side, each side says the key of its own that
//! was made for this one copy, and the files travel over RPP (spec/20-copy.md, "Over ssh").
//!
//! 1. `command` starts `ssh` with the user's options, and a fixed word for the far side's shell;
//! 2. `greeting` is what the two say over it: keys, port, and the paths, which no shell sees;
//! 3. `reach` says to which addresses the packets go;
//! 4. `session` does these three; `server` is the far side.

mod command;
mod error;
mod greeting;
mod places;
mod reach;
pub(super) mod server;
mod session;

pub(super) use self::{
    command::SshOptions,
    greeting::{Hello, MAX_PLACES, Place, Purpose},
    session::{Opened, Session, connect},
};
pub use self::{
    error::SshError,
    greeting::{Ports, PortsError},
};
