//! The fourth carrier: the kernel's own `tc netem`, told by the same scenario files, between the kernels'
//! TCP and real programs as in `tun`. It is somebody else's emulator, so it judges ours.
//!
//! 1. [`plan`] turns a direction's settings into `tc` arguments, and names what netem cannot do.
//! 2. [`lab`] puts them on a router between two namespaces, where the running kernel has netem.
//! 3. [`cells`] measures one transfer of an implementation by either carrier.
//! 4. [`vm`] runs this program under a kernel that has netem, where the running one has not.

pub mod cells;
pub mod lab;
pub mod plan;
pub mod vm;

pub use self::{
    lab::{NetemLab, unavailable},
    plan::{Note, Plan},
};
