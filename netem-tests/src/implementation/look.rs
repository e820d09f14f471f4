//! How one sees from outside what programs do: tallies, files that grow, ports that open. What follows
//! from it is decided in `stage`.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::netns::Namespace;

/// `bytes nanoseconds`.
pub(super) fn parse_tally(line: &str) -> Option<(u64, u64)> {
    let (bytes, at) = line.split_once(' ')?;
    Some((bytes.parse().ok()?, at.parse().ok()?))
}

/// Bytes written so far to the files of a folder; holes that nothing was written to do not count, even
/// where room is reserved for them.
pub(super) fn written(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        match fs::File::open(entry?.path()) {
            Ok(file) => sum += data_bytes(&file)?,
            // It has just got another name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

fn data_bytes(file: &fs::File) -> io::Result<u64> {
    use rustix::{
        fs::{SeekFrom, seek},
        io::Errno,
    };
    let (mut at, mut sum) = (0, 0);
    loop {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(sum),
            Err(error) => return Err(error.into()),
        };
        at = seek(file, SeekFrom::Hole(start))?;
        sum += at - start;
    }
}

/// Whether somebody inside listens on the port, by TCP or UDP.
pub(super) fn is_open(inside: &Namespace, port: u16) -> io::Result<bool> {
    let tables = inside.run(|| {
        let mut text = String::new();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let path = PathBuf::from("/proc/thread-self/net").join(table);
            if let Ok(mut file) = fs::File::open(path) {
                file.read_to_string(&mut text)?;
            }
        }
        Ok(text)
    })?;
    Ok(has_listener(&tables, port))
}

/// Whether a table of sockets (proc_pid_net(5)) has one that takes from everybody on that port.
fn has_listener(tables: &str, port: u16) -> bool {
    let own = format!(":{port:04X}");
    tables.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next(), fields.next());
        local.is_some_and(|local| local.ends_with(&own))
            && remote.is_some_and(|remote| remote.ends_with(":0000"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn a_tally_is_two_numbers() {
        assert_eq!(parse_tally("1000 250"), Some((1000, 250)));
        assert_eq!(parse_tally(""), None);
        assert_eq!(parse_tally("ready"), None);
    }

    #[test]
    fn an_open_port_is_found_among_sockets_of_others() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:1CE8 0200007F:0050 01\n\
             1: 00000000:1CD1 00000000:0000 07\n";
        assert!(has_listener(table, 0x1cd1));
        assert!(!has_listener(table, 0x1ce8));
        assert!(!has_listener(table, 80));
    }

    #[test]
    fn only_what_was_written_counts_as_arrived() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(folder.path().join("partial")).unwrap();
        file.write_all(&[1; 1 << 16]).unwrap();
        file.seek(io::SeekFrom::Start(1 << 20)).unwrap();
        file.write_all(&[1; 1 << 16]).unwrap();
        file.sync_all().unwrap();
        assert_eq!(written(folder.path()).unwrap(), 2 << 16);
    }
}
