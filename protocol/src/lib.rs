//! RPP, the Rapid Path Protocol: a sealed, rate-based, multi-stream transport over UDP.

pub mod config;
pub mod congestion;
pub mod crypto;
pub mod endpoint;
pub mod error;
pub mod path;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod units;
pub mod wire;
