//! Sample sizes and power, under the normal approximation.
//!
//! `alpha` is two-sided. `ratio` is how many requests the control has for each one of the candidate.
//! Sequential analysis needs more: about a quarter more on average, and up to twice as many where the
//! effect is just the one planned for.

use statrs::distribution::{ContinuousCDF, Normal};

/// The candidate's requests that are needed to find `effect` above a share of `base`, with probability
/// `power` (Fleiss, Levin and Paik, "Statistical methods for rates and proportions", 2003, 4.14: the
/// pooled variance under the hypothesis).
///
/// ```
/// let candidate = tidegate_delivery::experiment::plan::proportions(0.1, 0.02, 0.05, 0.8, 1.0);
/// assert_eq!(candidate.round(), 3841.0);
/// ```
pub fn proportions(base: f64, effect: f64, alpha: f64, power: f64, ratio: f64) -> f64 {
    let other = base + effect;
    let pooled = (other + ratio * base) / (1.0 + ratio);
    let variance = |share: f64| share * (1.0 - share);
    let null = (variance(pooled) * (1.0 + 1.0 / ratio)).sqrt();
    let alternative = (variance(other) + variance(base) / ratio).sqrt();
    ((quantile(1.0 - alpha / 2.0) * null + quantile(power) * alternative) / effect).powi(2)
}

/// The candidate's values that are needed to find a difference of `effect` between means, for values
/// with this standard deviation.
pub fn means(effect: f64, deviation: f64, alpha: f64, power: f64, ratio: f64) -> f64 {
    let sum = quantile(1.0 - alpha / 2.0) + quantile(power);
    (sum * deviation / effect).powi(2) * (1.0 + 1.0 / ratio)
}

/// The probability to find a difference of `effect` between means with so many values of the candidate.
pub fn power_of_means(effect: f64, deviation: f64, alpha: f64, candidate: f64, ratio: f64) -> f64 {
    let error = deviation * ((1.0 + 1.0 / ratio) / candidate).sqrt();
    let critical = quantile(1.0 - alpha / 2.0);
    let normal = Normal::standard();
    normal.sf(critical - effect / error) + normal.cdf(-critical - effect / error)
}

/// How many requests of the candidate any sequential test needs on average to find a share of
/// `candidate` where `control` was expected, of which it gets the part `exposure` of all requests:
/// ln(1/alpha) by the Kullback-Leibler information of a request, minimal over what both shares could
/// be if they were equal (Turner, Ly and Grünwald 2024; Wald 1945).
pub fn least_requests(candidate: f64, control: f64, exposure: f64, alpha: f64) -> f64 {
    let equal = exposure * candidate + (1.0 - exposure) * control;
    let information = |share: f64| {
        share * (share / equal).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - equal)).ln()
    };
    let for_each = information(candidate) + information(control) * (1.0 - exposure) / exposure;
    (1.0 / alpha).ln() / for_each
}

fn quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}
