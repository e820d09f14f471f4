//! Checks of the lines of a control socket on any bytes, for [`crate::fuzz`].

use super::message::{Command, Reply};

/// Lines of a control socket: what is understood means the same on one line of its own.
pub fn control_messages(data: &[u8]) {
    match Command::parse(data) {
        Ok(command) => {
            let line = serde_json::to_vec(&command).expect("commands can be written");
            assert!(!line.contains(&b'\n'));
            assert_eq!(Command::parse(&line), Ok(command));
        }
        Err(refusal) => {
            let line = Reply::Error(refusal.to_string()).to_line();
            assert_eq!(
                line.iter().position(|&byte| byte == b'\n'),
                Some(line.len() - 1)
            );
        }
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(data) {
        let line = reply.to_line();
        let again = serde_json::from_slice::<Reply>(&line).expect("what is said is understood");
        assert_eq!(again.to_line(), line);
    }
}
