//! Tests of the loss processes: rates and burst lengths against their definitions.

use rand::SeedableRng;

use super::*;

fn run(model: Loss, packets: u32) -> (f64, f64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut process = LossProcess::default();
    let (mut lost, mut bursts, mut before) = (0u32, 0u32, false);
    for _ in 0..packets {
        let now = process.is_lost(&model, &mut rng);
        lost += u32::from(now);
        bursts += u32::from(now && !before);
        before = now;
    }
    (
        f64::from(lost) / f64::from(packets),
        f64::from(lost) / f64::from(bursts.max(1)),
    )
}

#[test]
fn independent_loss_has_its_rate_and_short_bursts() {
    let (rate, burst) = run(Loss::bernoulli(0.05), 400_000);
    assert!((rate - 0.05).abs() < 0.002, "rate {rate}");
    assert!((burst - 1.0 / 0.95).abs() < 0.02, "burst {burst}");
}

#[test]
fn bursts_have_the_asked_mean_length_and_rate() {
    for (p, length) in [(0.01, 5.0), (0.038, 20.0), (0.3, 4.0)] {
        let model = Loss::bursts(p, length);
        let (rate, burst) = run(model, 4_000_000);
        assert!((model.mean() - p).abs() < 1e-9, "mean of {model:?}");
        assert!((rate / p - 1.0).abs() < 0.05, "rate {rate} for {p}");
        assert!((burst / length - 1.0).abs() < 0.05, "burst {burst}");
    }
}

#[test]
fn certain_and_impossible_loss_draw_no_random_numbers() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let before = rng.clone();
    assert!(!chance(&mut rng, 0.0));
    assert!(chance(&mut rng, 1.0));
    assert_eq!(rng, before);
}

#[test]
fn normal_samples_have_mean_zero_and_variance_one() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let n = 200_000;
    let samples: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
    let mean = samples.iter().sum::<f64>() / f64::from(n);
    let variance = samples.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
    assert!(mean.abs() < 0.01, "mean {mean}");
    assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
}
