//! Tests of `packet_number`.
