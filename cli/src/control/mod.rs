//! Commands to a running program, over its Unix socket. What a command does is decided by the program
//! that serves it; what a socket is called, who may use it and how it is found lives here.
//!
//! 1. A program binds a [`ControlSocket`], one per instance, named after the address it listens on, and
//!    [`serve`]s it with its [`Handler`].
//! 2. A caller [finds](find) it, writes one [`Command`] as a line of JSON and reads one line back.
//! 3. More commands may follow on the same connection, unless the program took it over: from the line
//!    behind its reply on it carries whatever the command is about.
//!
//! A new command is one variant of [`Command`], and one arm in the [`Handler`] of the program it is for.

mod call;
pub(crate) mod fuzz;
mod message;
mod serve;
mod socket;

pub use call::{CallError, Caller, find};
pub use message::{Command, Refusal, Route};
pub use serve::{Answer, Handler, TakeOver, serve};
pub use socket::{ControlError, ControlSocket, Place, runtime_folder};

#[cfg(test)]
mod tests;
