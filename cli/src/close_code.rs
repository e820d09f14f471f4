//! The codes with which a server's application closes a connection (spec/registry.md#close-codes).

use rp_protocol::units::CloseCode;

/// The server shuts down, or the client has been idle.
pub const DONE: CloseCode = CloseCode::from_u32(0);

/// The key may not be used like this.
pub const NOT_PERMITTED: CloseCode = CloseCode::from_u32(1);

/// A limit of connections is reached; the reason says which.
pub const TOO_MANY: CloseCode = CloseCode::from_u32(2);
