//! What the programs `rpserver`, `rpclient` and `rpcp` share: whom they are and whom they trust.

pub mod authorized_keys;
pub mod dirs;
mod guarded_file;
pub mod host_key;
pub mod identity;
pub mod known_hosts;
pub mod openssh;
pub mod prompt;
pub mod rate;

pub use guarded_file::GuardError;
