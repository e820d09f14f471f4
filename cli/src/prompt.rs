//! Questions to the person at the terminal. What is asked, and when, is the caller's.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
};

use zeroize::Zeroizing;

/// Somebody who can be asked.
pub trait Prompt: Sync {
    /// Whether there is anybody.
    fn is_available(&self) -> bool;

    /// Shows `question` and gives the line typed; `None` at the end of input.
    ///
    /// # Errors
    /// There is no terminal.
    fn ask(&self, question: &str) -> io::Result<Option<String>>;

    /// Shows `question` and gives what was typed unseen.
    ///
    /// # Errors
    /// There is no terminal.
    fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>>;
}

/// The terminal the program was started from, whatever its standard streams are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

/// The name every process has for its own terminal.
const TERMINAL: &str = "/dev/tty";

/// A terminal that never ends a line does not fill memory.
const MAX_LINE: u64 = 4096;

impl Terminal {
    fn open() -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(TERMINAL)
    }
}

impl Prompt for Terminal {
    fn is_available(&self) -> bool {
        Self::open().is_ok()
    }

    fn ask(&self, question: &str) -> io::Result<Option<String>> {
        let mut terminal = Self::open()?;
        terminal.write_all(question.as_bytes())?;
        terminal.flush()?;
        let mut line = String::new();
        let read = BufReader::new(io::Read::take(terminal, MAX_LINE)).read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim().to_owned()))
    }

    fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>> {
        rpassword::prompt_password(question).map(Zeroizing::new)
    }
}

/// Nobody: for programs told not to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Prompt for Nobody {
    fn is_available(&self) -> bool {
        false
    }

    fn ask(&self, _question: &str) -> io::Result<Option<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn passphrase(&self, _question: &str) -> io::Result<Zeroizing<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A person with answers written down beforehand.

    use std::sync::Mutex;

    use super::*;

    /// Answers in order; then the end of input.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        pub(crate) answers: Mutex<Vec<String>>,
        pub(crate) questions: Mutex<Vec<String>>,
    }

    impl Script {
        pub(crate) fn of(answers: &[&str]) -> Self {
            Self {
                answers: Mutex::new(answers.iter().rev().map(|&a| a.to_owned()).collect()),
                questions: Mutex::default(),
            }
        }
    }

    impl Prompt for Script {
        fn is_available(&self) -> bool {
            true
        }

        fn ask(&self, question: &str) -> io::Result<Option<String>> {
            self.questions.lock().unwrap().push(question.to_owned());
            Ok(self.answers.lock().unwrap().pop())
        }

        fn passphrase(&self, question: &str) -> io::Result<Zeroizing<String>> {
            self.ask(question)
                .map(|answer| Zeroizing::new(answer.unwrap_or_default()))
        }
    }
}
