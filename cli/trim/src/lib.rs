//! Gives memory that the C library's allocator keeps for later back to the system. When that is worth the time
//! is the caller's business.
//!
//! The only code is one call, and a crate of its own holds it because nothing else here needs unsafe code.

/// Gives every page back in which nothing is allocated; whether there was one.
///
/// The allocator of the GNU C library by itself gives back only what lies above its last block in use. Threads
/// that allocate meanwhile wait: some milliseconds where hundreds of megabytes are free. Other C libraries
/// have no such call, or need none; there it does nothing.
///
/// ```
/// drop(vec![0_u8; 1 << 20]);
/// rp_trim::trim();
/// ```
pub fn trim() -> bool {
    imp::trim()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod imp {
    use std::ffi::c_int;

    // SAFETY: the declaration is that of malloc.h, `int malloc_trim(size_t pad)`. Any `pad` is allowed, and it may be
    // called by any thread at any time (malloc_trim(3): MT-Safe), so that calling it is safe.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    pub(super) fn trim() -> bool {
        malloc_trim(0) == 1
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod imp {
    pub(super) fn trim() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of this process in RAM.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages << 12
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    fn pages_below_a_block_in_use_go_back_to_the_system() {
        const BLOCK: usize = 4000;
        let mut blocks: Vec<Vec<u8>> = (0..10_000).map(|_| vec![1; BLOCK]).collect();
        let last = blocks.pop();
        let full = resident();
        drop(blocks);
        assert!(trim());
        let freed = full.saturating_sub(resident());
        assert!(freed > 9000 * BLOCK, "{freed}");
        drop(last);
    }
}
