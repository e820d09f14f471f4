//! Tests of reading profiles and of verdicts; counting itself is a step of the check.

use super::*;

/// As callgrind 3.19 writes it: names once, positions relative, calls with their inclusive cost.
const PROFILE: &str = "\
# callgrind format
version: 1
positions: line
events: Ir

fl=(1) /src/bench.rs
fn=(1) rp_protocol::bench::Work::run
10 5
+1 3
cfi=(2) ???
cfn=(2) aws_lc_0_47_0_aes_gcm_enc_update_vaes_avx512
calls=1 0
* 900
cfn=(3) <alloc::vec::Vec<T,A> as core::ops::drop::Drop>::drop
calls=2 0
-1 40

fl=(2)
fn=(2)
0 900

fn=(3)
0 40

fn=(4) malloc
0 70

fn=(1)
20 2

totals: 1020
";

#[test]
fn only_what_is_compiled_from_rust_is_counted_and_calls_once() {
    assert_eq!(sum(PROFILE).unwrap(), 5 + 3 + 40 + 2);
}

#[test]
fn a_profile_that_makes_no_sense_is_an_error() {
    assert!(sum("fn=(1) a::b\n1 x\n").is_err());
    assert_eq!(sum("").unwrap(), 0);
}

#[test]
fn a_count_is_over_its_budget_or_far_below_it_by_more_than_a_twentieth() {
    assert_eq!(judge(1050, 1000), Verdict::Kept);
    assert_eq!(judge(1051, 1000), Verdict::Over);
    assert_eq!(judge(950, 1000), Verdict::Kept);
    assert_eq!(judge(949, 1000), Verdict::Under);
    assert_eq!(judge(1, 0), Verdict::Kept);
}

fn budgets(rustc: &str, instructions: &[(&str, u64)]) -> Budgets {
    Budgets {
        rustc: rustc.to_owned(),
        architecture: "x86_64".to_owned(),
        instructions: instructions
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
    }
}

#[test]
fn a_work_without_a_budget_is_over_it() {
    let rows = budgets("1.95.0", &[("seal", 100)])
        .compare(&budgets("1.95.0", &[("open", 10), ("seal", 100)]));
    assert_eq!(rows[0], ("open".to_owned(), 10, None, Verdict::Over));
    assert_eq!(rows[1].3, Verdict::Kept);
}

#[test]
fn budgets_of_another_compiler_say_nothing() {
    let (old, new) = (budgets("1.95.0", &[]), budgets("1.96.0", &[]));
    assert_eq!(old.differs(&old.clone()), None);
    let text = old.differs(&new).unwrap();
    assert!(text.contains("1.95.0") && text.contains("1.96.0"), "{text}");
}

#[test]
fn the_committed_budgets_are_of_all_works() {
    let budgets = Budgets::load(&Budgets::file()).unwrap();
    let mut names = NAMES.map(str::to_owned).to_vec();
    names.sort();
    assert_eq!(budgets.instructions.into_keys().collect::<Vec<_>>(), names);
}
