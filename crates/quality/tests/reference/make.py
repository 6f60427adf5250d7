"""Makes the reference values of `crates/quality/tests`: what SciPy, scikit-learn, NannyML and fairlearn
compute for the same inputs.

    pip install numpy scipy scikit-learn fairlearn nannyml
    python make.py

Writes one JSON file per part beside itself. Inputs are rounded, so that the files stay small and hold the
exact inputs.
"""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def write(name, cases):
    text = json.dumps(cases, separators=(",", ":"), allow_nan=False)
    (HERE / f"{name}.json").write_text(text + "\n")


def samples(rng):
    """Pairs of samples: shifted, with ties, of unequal size, apart, equal."""
    normal = lambda n, mean=0.0, spread=1.0: np.round(rng.normal(mean, spread, n), 4)
    return [
        (normal(40), normal(40, 0.5)),
        (normal(100), normal(60, 0.1)),
        (normal(7), normal(5, 1.0)),
        (normal(300), normal(150, 0.0, 3.0)),
        (rng.integers(0, 6, 90).astype(float), rng.integers(1, 7, 80).astype(float)),
        (normal(12), normal(9, 50.0)),
        (normal(15), normal(15)),
        (np.round(rng.lognormal(3, 1, 200), 2), np.round(rng.lognormal(3.2, 1, 170), 2)),
        (np.array([1.0]), np.array([2.0])),
        (np.array([1.0, 1.0, 1.0]), np.array([1.0, 1.0])),
    ]


def drift():
    from scipy import stats
    from scipy.spatial import distance
    from scipy.special import kolmogorov, rel_entr

    rng = np.random.default_rng(18)
    of_samples = []
    for one, other in samples(rng):
        test = stats.ks_2samp(one, other, method="exact")
        of_samples.append(
            {
                "reference": one.tolist(),
                "window": other.tolist(),
                "ks": float(test.statistic),
                "ks_p": float(test.pvalue),
                "wasserstein": float(stats.wasserstein_distance(one, other)),
            }
        )

    rows = [
        ([100, 200, 300, 400], [120, 180, 310, 390]),
        ([1000, 2000, 50, 7], [10, 90, 20, 3]),
        ([5, 0, 7, 9], [6, 3, 0, 12]),
        ([123456, 654321, 222222], [1300, 6400, 2300]),
        ([10, 10], [10, 10]),
        (rng.multinomial(20000, np.full(20, 0.05)).tolist(), rng.multinomial(900, np.full(20, 0.05)).tolist()),
        (rng.multinomial(5000, np.full(12, 1 / 12)).tolist(), rng.multinomial(5000, np.arange(1, 13) / 78).tolist()),
        ([900, 100], [10, 900]),
    ]
    of_counts = []
    for reference, window in rows:
        r, w = np.array(reference, float), np.array(window, float)
        p, q = r / r.sum(), w / w.sum()
        used = (r > 0) | (w > 0)
        sp, sq = r[used] + 0.5, w[used] + 0.5
        sp, sq = sp / sp.sum(), sq / sq.sum()
        fp, fq = np.maximum(p[used], 1e-4), np.maximum(q[used], 1e-4)
        chi = stats.chi2_contingency(np.array([r[used], w[used]]), correction=False)
        codes = lambda counts: np.repeat(np.arange(len(counts)), counts)
        sizes = r.sum() + w.sum()
        small = sizes < 100_000
        ranks = stats.mannwhitneyu(codes(window), codes(reference), method="asymptotic", use_continuity=False)
        of_counts.append(
            {
                "reference": [int(v) for v in reference],
                "window": [int(v) for v in window],
                "psi": float(np.sum((sq - sp) * np.log(sq / sp))),
                "psi_floor": float(np.sum((fq - fp) * np.log(fq / fp))),
                "kl": float(stats.entropy(sq, sp)),
                "kl_plain": None if np.any((q > 0) & (p == 0)) else float(rel_entr(q, p).sum()),
                "js": float(distance.jensenshannon(p, q)),
                "hellinger": float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)),
                "total_variation": float(np.abs(p - q).sum() / 2),
                "chi": float(chi.statistic),
                "chi_df": int(chi.dof),
                "chi_p": float(chi.pvalue),
                "chi_least": float(chi.expected_freq.min()),
                "rank_superiority": float(ranks.statistic / (r.sum() * w.sum())),
                "rank_p": float(ranks.pvalue),
            }
        )
        assert small or reference[0] == 123456

    shares = []
    for hits_r, rows_r, hits_w, rows_w in [
        (0, 1000, 1, 100), (3, 1000, 4, 100), (100, 1000, 1, 100), (50_000, 1_000_000, 700, 10_000),
        (0, 1_000_000, 12, 1000), (7, 20, 9, 15), (400, 1000, 41, 100), (999_000, 1_000_000, 980, 1000),
    ]:  # fmt: skip
        law = stats.hypergeom(rows_r + rows_w, hits_r + hits_w, rows_w)
        p = min(1.0, 2 * min(law.cdf(hits_w), law.sf(hits_w - 1)))
        shares.append({"counts": [hits_r, rows_r, hits_w, rows_w], "p": float(p)})

    adjusted = []
    for p in [[0.01, 0.04, 0.5, 0.02], [0.9], [0.05, 0.05, 0.05], np.round(rng.uniform(0, 1, 30) ** 3, 5).tolist()]:
        adjusted.append(
            {
                "p": p,
                "bh": stats.false_discovery_control(p, method="bh").tolist(),
                "by": stats.false_discovery_control(p, method="by").tolist(),
            }
        )
    limit = [[z, float(kolmogorov(z))] for z in [0.05, 0.2, 0.4, 0.7, 0.999, 1.0, 1.3, 2.0, 3.5, 6.0]]
    windows = rng.multinomial(500, [0.1, 0.2, 0.3, 0.25, 0.15], 6)
    kruskal = stats.kruskal(*[np.repeat(np.arange(5), row) for row in windows])
    dispersion = {
        "windows": windows.tolist(),
        "chi": float(stats.chi2_contingency(windows, correction=False).statistic),
        "kruskal": float(kruskal.statistic),
    }
    f = [[x, a, b, float(stats.f.sf(x, a, b))] for x, a, b in [(1.2, 5, 20), (3.0, 1, 7), (2.5, 19, 551), (8, 19, 551)]]
    write(
        "drift",
        {
            "samples": of_samples, "counts": of_counts, "shares": shares, "adjusted": adjusted,
            "limit": limit, "dispersion": dispersion, "f": f,
        },
    )  # fmt: skip


if __name__ == "__main__":
    drift()
