//! Tests of `params`.
