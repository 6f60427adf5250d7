"""Writes reference.json: values of independent implementations for the tests of this crate.

    python -m venv venv && venv/bin/pip install numpy scipy statsmodels confseq==0.0.11
    venv/bin/python make.py > reference.json

`confseq` is the authors' own implementation of Howard et al. (2021) and of Howard and Ramdas (2022). It
has to be compiled (C++14, Boost's headers); for Python 3.11 and later, compile its two modules
`boundaries.cpp` and `quantiles.cpp` with a current pybind11.
"""

import json
import math
import sys

import numpy as np
from confseq import boundaries, quantiles
from scipy import special, stats
from statsmodels.stats import power, proportion


def normal_mixtures():
    for s, v, v_opt in [(5, 10, 10), (30, 100, 50), (-80, 1000, 400), (0.5, 0.1, 2)]:
        yield {
            "s": s,
            "v": v,
            "v_opt": v_opt,
            "log_e": float(boundaries.normal_log_mixture(s, v, v_opt, 0.05, False)),
            # Its best rho is that of the two-sided mixture at twice the alpha: 0.05 here, too.
            "one_sided": float(boundaries.normal_log_mixture(s, v, v_opt, 0.025, True)),
            "bound": float(boundaries.normal_mixture_bound(v, 0.01, v_opt, 0.05, False)),
        }


def beta_binomials():
    for successes, trials, p, n_opt in [(10, 100, 0.05, 100), (0, 50, 0.1, 200), (900, 1000, 0.85, 500), (3, 4, 0.5, 10)]:
        s, v = successes - p * trials, p * (1 - p) * trials
        log_e = boundaries.beta_binomial_log_mixture(s, v, p * (1 - p) * n_opt, p, 1 - p, 0.05, False)
        yield {"successes": successes, "trials": trials, "p": p, "n_opt": n_opt, "log_e": float(log_e)}


def proportions():
    for successes, trials, alpha, n_opt in [(10, 100, 0.05, 100), (0, 1000, 0.01, 500), (500, 500, 0.05, 1000), (13, 20000, 0.001, 10000)]:
        low, high = boundaries.bernoulli_confidence_interval(successes, trials, alpha, n_opt)
        yield {"successes": successes, "trials": trials, "alpha": alpha, "n_opt": n_opt, "low": low, "high": high}


def quantile_tests():
    random = np.random.default_rng(7)
    for n_candidate, n_control, factor, p in [(200, 800, 1.0, 0.5), (500, 2000, 1.6, 0.9), (1000, 1000, 1.3, 0.5), (300, 300, 3.0, 0.95)]:
        # Whole numbers, so that a histogram with one bin for each has the same information.
        candidate = np.floor(random.exponential(20 * factor, n_candidate))
        control = np.floor(random.exponential(20, n_control))
        bins = int(max(candidate.max(), control.max())) + 1
        yield {
            "p": p,
            "n_opt": 500,
            "candidate": np.bincount(candidate.astype(int), minlength=bins).tolist(),
            "control": np.bincount(control.astype(int), minlength=bins).tolist(),
            "p_value": quantiles.quantile_ab_p_value(candidate, control, p, 500),
        }


def two_proportions():
    for base, effect, alpha, wanted, ratio in [(0.01, 0.01, 0.05, 0.8, 1), (0.1, 0.02, 0.05, 0.9, 1), (0.001, 0.01, 0.01, 0.9, 19)]:
        size = proportion.samplesize_proportions_2indep_onetail(effect, base, wanted, ratio=ratio, alpha=alpha)
        yield {"base": base, "effect": effect, "alpha": alpha, "power": wanted, "ratio": ratio, "candidate": float(size)}


def two_means():
    for effect, deviation, alpha, wanted, ratio in [(1, 5, 0.05, 0.8, 1), (0.2, 1, 0.01, 0.9, 4)]:
        size = power.NormalIndPower().solve_power(effect / deviation, alpha=alpha, power=wanted, ratio=ratio)
        yield {"effect": effect, "deviation": deviation, "alpha": alpha, "power": wanted, "ratio": ratio, "candidate": float(size)}


def powers():
    for effect, deviation, alpha, size, ratio in [(1, 5, 0.05, 200, 1), (0.2, 1, 0.01, 150, 4), (0.05, 1, 0.05, 100, 1)]:
        value = power.NormalIndPower().power(effect / deviation, size, alpha, ratio=ratio)
        yield {"effect": effect, "deviation": deviation, "alpha": alpha, "candidate": size, "ratio": ratio, "power": float(value)}


def ratio_mismatches():
    for counts, shares in [([5000, 5100], [0.5, 0.5]), ([900, 9100], [0.1, 0.9]), ([330, 350, 320], [0.3333, 0.3333, 0.3334])]:
        expected = np.array(shares) * sum(counts)
        statistic, p_value = stats.chisquare(counts, expected)
        yield {"counts": counts, "shares": shares, "statistic": float(statistic), "p_value": float(p_value)}


def sequential_ratio_mismatches():
    """Lindon and Malek (2022): Dirichlet-multinomial over multinomial."""
    for counts, shares, concentration in [([50, 80], [0.5, 0.5], 100), ([900, 9100], [0.1, 0.9], 10000)]:
        counts, prior = np.array(counts), concentration * np.array(shares)
        log_e = special.gammaln(prior.sum()) - special.gammaln(prior.sum() + counts.sum())
        log_e += (special.gammaln(prior + counts) - special.gammaln(prior)).sum()
        log_e -= (counts * np.log(shares)).sum()
        yield {"counts": counts.tolist(), "shares": shares, "concentration": concentration, "log_e": float(log_e)}


def cuped():
    import statsmodels.api as sm

    random = np.random.default_rng(11)
    before = random.gamma(2, 10, 60)
    arm = np.arange(60) % 2
    after = 0.8 * before + random.normal(0, 3, 60) + 1.5 * arm
    theta = np.cov(before, after)[0, 1] / before.var(ddof=1)
    adjusted = after - theta * (before - before.mean())
    result = stats.ttest_ind(adjusted[arm == 1], adjusted[arm == 0], equal_var=False)
    difference = sm.stats.CompareMeans.from_data(adjusted[arm == 1], adjusted[arm == 0])
    low, high = difference.zconfint_diff(alpha=0.05, usevar="unequal")
    yield {
        "before": before.tolist(),
        "after": after.tolist(),
        "arm": arm.tolist(),
        "theta": float(theta),
        "effect": float(adjusted[arm == 1].mean() - adjusted[arm == 0].mean()),
        "error": float((adjusted[arm == 1].mean() - adjusted[arm == 0].mean()) / result.statistic),
        "low": float(low),
        "high": float(high),
        "kept_variance": float(1 - np.corrcoef(before, after)[0, 1] ** 2),
    }


def clopper_pearson():
    for successes, trials, alpha in [(95, 100, 0.05), (0, 20, 0.05), (200, 200, 0.01), (4700, 5000, 0.05)]:
        low = stats.beta.ppf(alpha, successes, trials - successes + 1) if successes else 0.0
        yield {"successes": successes, "trials": trials, "alpha": alpha, "low": float(low)}


def event_tests():
    """The capital of bets on rate ratios, request by request, as a loop over the definition."""
    ratios = [1 + 0.06 * 2**step for step in range(8)] + [1 + 0.06 * 2**step for step in range(8, 12)]
    windows = [[2, 10, 3, 90], [1, 5, 4, 200], [0, 20, 1, 100], [6, 12, 2, 80]]
    for min_effect in [0.0, 0.01]:
        logs = np.zeros(len(ratios))
        events, requests = 0, 0
        for candidate_events, candidate, control_events, control in windows:
            share = candidate / (candidate + control)
            expected = (events + 0.5) / (requests + 50)
            outcomes = [(1, 1)] * candidate_events + [(1, 0)] * (candidate - candidate_events)
            outcomes += [(0, 1)] * control_events + [(0, 0)] * (control - control_events)
            for index, ratio in enumerate(ratios):
                control_share = expected / (share * ratio + 1 - share)
                stake = share * (1 - share) * (ratio - 1) * control_share / (expected * (1 - expected))
                stake = min(stake, 0.95 / (max(expected / share, (1 - expected) / (1 - share)) + min_effect))
                for arm, event in outcomes:
                    x = (arm - share) / (share * (1 - share)) * (event - expected)
                    logs[index] += math.log(1 + stake * (x - min_effect))
            events += candidate_events + control_events
            requests += candidate + control
        yield {"min_effect": min_effect, "windows": windows, "log_e": float(special.logsumexp(logs) - math.log(len(ratios)))}


def rank_correlations():
    random = np.random.default_rng(3)
    for size, levels in [(10, 1000), (50, 5), (7, 2)]:
        one, other = random.integers(0, levels, size), random.integers(0, levels, size)
        value = stats.spearmanr(one, other).statistic
        yield {"one": one.tolist(), "other": other.tolist(), "value": float(value)}


PARTS = [
    normal_mixtures, beta_binomials, proportions, quantile_tests, event_tests, two_proportions, two_means,
    powers, ratio_mismatches, sequential_ratio_mismatches, cuped, clopper_pearson, rank_correlations,
]

if __name__ == "__main__":
    json.dump({part.__name__: list(part()) for part in PARTS}, sys.stdout, indent=1)
    print()
