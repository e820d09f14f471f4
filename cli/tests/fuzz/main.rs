//! Every parser on mutated input: none panics, and each keeps what the `fuzz` module of its library says. An ordinary
//! run takes seconds; `RP_FUZZ_SECONDS=600 cargo nextest run --workspace --test fuzz` looks longer, each target as
//! long, from another seed each time; `--success-output immediate` tells how many inputs there were.

mod copy;
mod mutate;
mod programs;
mod proxy;
