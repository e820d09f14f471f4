//! Routing of datagrams to connections by connection id, and limits on half-open ones.

pub mod connection_id;
