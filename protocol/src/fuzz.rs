//! What the fuzz targets run: each function takes any bytes, must not panic and checks what must
//! hold whatever they are. `protocol/fuzz` feeds them; `tests/corpus.rs` replays the corpora.
//! Not part of the API.

mod handshake;
mod input;
mod script;
mod wire;
mod world;

pub use handshake::handshake;
pub use script::script;
pub use wire::{frame, packet};
