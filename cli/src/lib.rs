//! What the programs `rpserver`, `rpclient` and `rpcp` share: whom they are and whom they trust.

pub mod address;
pub mod admin;
pub mod agent;
pub mod args;
pub mod authorized_keys;
pub mod client;
pub mod clients;
pub mod close_code;
pub mod connect;
pub mod control;
pub mod copy;
pub mod dirs;
pub mod doctor;
pub mod exit_code;
pub mod file_threads;
pub mod forward;
pub mod forwards;
#[doc(hidden)]
pub mod fuzz;
mod guarded_file;
pub mod host_key;
pub mod identity;
pub mod key_rates;
pub mod known_hosts;
pub mod logging;
pub mod memory;
pub mod openssh;
pub mod path_memory;
mod pattern;
pub mod progress;
pub mod prompt;
pub mod rate;
pub mod reach;
pub mod reload;
pub mod run;
pub mod serve;
pub mod servers;
pub mod service_manager;
pub mod session;
pub mod settings;
pub mod signals;
pub mod status;
pub mod tproxy;
pub mod trace_files;
pub mod transparent;

pub use guarded_file::GuardError;
