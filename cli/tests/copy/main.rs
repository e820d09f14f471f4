//! The copy service and its program, each against the other and against sides that misbehave.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod exit_codes;
mod filters;
mod flags;
mod interface;
mod kept;
mod killed;
mod program;
#[path = "../world/mod.rs"]
mod programs;
mod refusals;
mod resume;
mod service;
mod silence;
mod trees;
mod world;
