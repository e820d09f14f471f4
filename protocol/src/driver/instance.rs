//! What tells this endpoint from all others that may have the same identity: machine, container and address. What
//! it is good for is `crypto::token`'s.

use std::{fs, net::SocketAddr};

/// The same for a process that binds `local` again after a restart, and for no other that runs at the same time;
/// `None` where the system does not say so much.
pub(super) fn name(local: SocketAddr) -> Option<Vec<u8>> {
    // Machines that are copies of each other share their id, but not a boot; containers share the boot, but not
    // the host name, or else the ports.
    let mut name = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    name.extend(fs::read("/proc/sys/kernel/hostname").ok()?);
    name.extend(local.to_string().into_bytes());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_across_restarts_and_for_one_address_only() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let first = name(address("192.0.2.1:7377"));
        if cfg!(target_os = "linux") {
            assert!(first.is_some());
        }
        assert_eq!(first, name(address("192.0.2.1:7377")));
        for other in ["192.0.2.1:7378", "192.0.2.2:7377", "[::]:7377"] {
            assert!(first.is_none() || first != name(address(other)));
        }
    }
}
