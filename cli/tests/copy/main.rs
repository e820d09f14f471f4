//! The copy service and its program, each against the other and against sides that misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers outside of test functions fail the test that calls them, or say that it was skipped"
)]

mod exit_codes;
mod far_side;
mod filters;
mod flags;
mod hostile;
mod interface;
mod kept;
mod killed;
mod older;
mod once;
mod program;
#[path = "../world/mod.rs"]
mod programs;
mod refusals;
mod removal;
mod resume;
mod service;
mod silence;
mod ssh;
mod trees;
mod world;
