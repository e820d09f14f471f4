//! What can be typed on the command lines of the programs. What it means is decided elsewhere.

pub mod copy;
