use super::*;

const BINS: usize = 10;

/// How many of 300 tests ever reject at 0.05 within 200 windows of 100 outputs, of which the candidate
/// has a tenth; each function makes a bin of a uniform number.
fn rejections(min_effect: f64, candidate: fn(f64) -> f64, control: fn(usize, f64) -> f64) -> usize {
    let rejects = |seed: &u64| {
        let mut random = fastrand::Rng::with_seed(*seed);
        let mut test = DistributionTest::new(Bins::Ordered, BINS, min_effect);
        (0..200).any(|index| {
            let mut window = Arms::new(vec![0; BINS], vec![0; BINS]);
            for _ in 0..100 {
                let (is_candidate, output) = (random.f64() < 0.1, control(index, random.f64()));
                let output = if is_candidate {
                    candidate(output)
                } else {
                    output
                };
                let bin = ((output * BINS as f64) as usize).min(BINS - 1);
                let arm = if is_candidate {
                    &mut window.candidate
                } else {
                    &mut window.control
                };
                arm[bin] += 1;
            }
            test.add(Arms::new(&window.candidate, &window.control));
            test.log_e() >= 20_f64.ln()
        })
    };
    (0..300).filter(rejects).count()
}

#[test]
fn the_capital_begins_at_one() {
    for bins in [Bins::Ordered, Bins::Classes] {
        assert!(DistributionTest::new(bins, BINS, 0.0).log_e().abs() < 1e-12);
    }
}

#[test]
fn equal_distributions_are_rejected_seldom_even_if_both_change() {
    let steady = rejections(0.0, |output| output, |_, output| output);
    assert!(steady <= 15, "{steady}");
    // The mix of requests changes from window to window.
    let mixed = rejections(
        0.0,
        |output| output,
        |index, output| output.powi(1 + index as i32 % 4),
    );
    assert!(mixed <= 15, "{mixed}");
}

#[test]
fn shifted_spread_and_constant_outputs_are_found() {
    assert!(rejections(0.0, |output| output.powf(1.3), |_, output| output) > 285);
    assert!(rejections(0.0, |output| 0.5 + (output - 0.5) * 0.8, |_, output| output) > 285);
    assert!(rejections(0.0, |_| 0.95, |_, output| output) > 285);
}

#[test]
fn differences_below_min_effect_are_accepted() {
    // Bins come up 0.8 to 1.2 times as often.
    let tilt = |output: f64| (-0.8 + (0.64 + 0.8 * output).sqrt()) / 0.4;
    let found = rejections(0.3, tilt, |_, output| output);
    assert!(found <= 15, "{found}");
    assert!(rejections(0.0, tilt, |_, output| output) > 30);
}

#[test]
fn psi_is_zero_for_equal_histograms_and_grows() {
    let control = [100, 200, 300];
    assert_eq!(psi(Arms::new(&control, &control)), 0.0);
    assert!(psi(Arms::new(&[200, 200, 200], &control)) > 0.1);
}

#[test]
fn a_class_that_is_gone_is_found() {
    let mut test = DistributionTest::new(Bins::Classes, 4, 0.0);
    for _ in 0..20 {
        test.add(Arms::new(&[0, 4, 4, 4], &[30, 30, 30, 30]));
    }
    assert!(test.log_e() > 20_f64.ln());
}
