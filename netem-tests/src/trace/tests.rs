//! Tests of reading and drawing.
