"""Makes the reference values of `crates/quality/tests`: what SciPy, scikit-learn, NannyML and fairlearn
compute for the same inputs.

    pip install numpy scipy scikit-learn statsmodels fairlearn nannyml
    python make.py [PART …]

Writes one JSON file per part beside itself. Inputs are rounded, so that the files stay small and hold the
exact inputs.
"""

import json
import os
import pathlib
import sys

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
        "chi": [
            float(stats.chi2_contingency([row, windows.sum(1) - row], correction=False).statistic)
            for row in windows.T
        ],
        "kruskal": float(kruskal.statistic),
    }
    f = [[x, n, float(stats.f.sf(x, 1, n))] for x, n in [(1.2, 20), (3.0, 7), (25.0, 551), (80.0, 29)]]
    write(
        "drift",
        {
            "samples": of_samples, "counts": of_counts, "shares": shares, "adjusted": adjusted,
            "limit": limit, "dispersion": dispersion, "f": f,
        },
    )  # fmt: skip


def delong(scores, labels):
    """The standard error of an area, from the placements of each value: independent of how Rust groups."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = (positives[:, None] > negatives).astype(float) + (positives[:, None] == negatives) / 2
    variance = wins.mean(1).var(ddof=1) / len(positives) + wins.mean(0).var(ddof=1) / len(negatives)
    return float(np.sqrt(variance))


def calibration_error(scores, labels):
    bins = np.minimum((scores * 10).astype(int), 9)
    return float(sum(abs(scores[bins == b].mean() - labels[bins == b].mean()) * (bins == b).mean() for b in set(bins)))


def mean_interval(values):
    from scipy import stats

    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return [float(np.mean(values)), float(low), float(high)]


def accuracy():
    from scipy import stats
    from sklearn import metrics

    rng = np.random.default_rng(19)
    binary = []
    for n, slope, digits in [(200, 2.0, 4), (60, 0.5, 1), (30, 8.0, 3)]:
        scores = np.round(rng.uniform(0, 1, n), digits)
        labels = (rng.uniform(0, 1, n) < 1 / (1 + np.exp(-slope * (scores - 0.5) * 4))).astype(int)
        answers = (scores >= 0.4).astype(int)
        binary.append(
            {
                "scores": scores.tolist(),
                "labels": labels.tolist(),
                "auc": float(metrics.roc_auc_score(labels, scores)),
                "auc_error": delong(scores, labels),
                "average_precision": float(metrics.average_precision_score(labels, scores)),
                "accuracy": float(metrics.accuracy_score(labels, answers)),
                "precision": float(metrics.precision_score(labels, answers)),
                "recall": float(metrics.recall_score(labels, answers)),
                "specificity": float(metrics.recall_score(labels, answers, pos_label=0)),
                "f1": float(metrics.f1_score(labels, answers)),
                "log_loss": float(metrics.log_loss(labels, scores)),
                "brier": mean_interval((scores - labels) ** 2),
                "ece": calibration_error(scores, labels),
            }
        )
        assert np.isclose(binary[-1]["brier"][0], metrics.brier_score_loss(labels, scores))

    names = np.array(["cat", "dog", "eel", "fox"])
    actual = names[rng.integers(0, 4, 150)]
    answered = np.where(rng.uniform(0, 1, 150) < 0.6, actual, names[rng.integers(0, 3, 150)])
    costs = np.array([[0, 1, 5, 2], [3, -1, 0, 4], [1, 1, 0, 1.5], [2, 2, 2, 0]])
    index = {name: i for i, name in enumerate(names)}
    paid = np.array([costs[index[a], index[t]] for a, t in zip(answered, actual)])
    nan = {"zero_division": np.nan}
    per_class = metrics.precision_recall_fscore_support(actual, answered, labels=names, **nan)
    none = lambda values: [None if np.isnan(v) else float(v) for v in values]
    macro = metrics.precision_recall_fscore_support(actual, answered, average="macro", **nan)
    classes = {
        "answered": answered.tolist(),
        "actual": actual.tolist(),
        "names": names.tolist(),
        "accuracy": float(metrics.accuracy_score(actual, answered)),
        "precision": none(per_class[0]),
        "recall": none(per_class[1]),
        "f1": none(per_class[2]),
        "macro": none(macro[:3]),
        "costs": costs.tolist(),
        "cost": mean_interval(paid),
    }
    raw = np.round(rng.dirichlet([1, 1, 1], 80), 3)
    raw[:, 2] = np.round(1 - raw[:, 0] - raw[:, 1], 3)
    true = rng.integers(0, 3, 80)
    squared = ((raw - np.eye(3)[true]) ** 2).sum(1)
    top, hit = raw.max(1), (raw[np.arange(80), true] == raw.max(1)).astype(int)
    losses = -np.log(np.clip(raw[np.arange(80), true], np.finfo(float).eps, 1))
    probabilities = {
        "probabilities": raw.tolist(),
        "actual": true.tolist(),
        "log_loss": mean_interval(losses),
        "brier": mean_interval(squared),
        "ece": calibration_error(top, hit),
    }

    actual = np.round(rng.normal(100, 30, 90), 3)
    predicted = np.round(actual * 1.02 + rng.normal(0, 8, 90), 3)
    mse = mean_interval((predicted - actual) ** 2)
    regression = {
        "predicted": predicted.tolist(),
        "actual": actual.tolist(),
        "mae": mean_interval(abs(predicted - actual)),
        "rmse": [float(metrics.root_mean_squared_error(actual, predicted))] + [float(np.sqrt(v)) for v in mse[1:]],
        "mape": float(metrics.mean_absolute_percentage_error(actual, predicted)),
        "bias": mean_interval(predicted - actual),
        "pinball": [
            [q, float(metrics.mean_pinball_loss(actual, predicted, alpha=q))] for q in (0.1, 0.5, 0.9)
        ],
        "r2": float(metrics.r2_score(actual, predicted)),
    }

    lists = []
    for n, k in [(5, 3), (12, 10), (8, 20), (4, 1)]:
        relevance = rng.integers(0, 4, n).astype(float)
        relevance[rng.integers(0, n)] = 2
        lists.append(
            {
                "relevances": relevance.tolist(),
                "k": k,
                "ndcg": float(metrics.ndcg_score([relevance], [np.arange(n, 0, -1)], k=k)),
            }
        )
    ranks = {
        "lists": lists,
        "mrr": float(np.mean([1 / (1 + np.flatnonzero(case["relevances"])[0]) for case in lists])),
    }

    history = np.round(10 + np.sin(np.arange(60) * np.pi / 6) * 3 + rng.normal(0, 1, 60), 3)
    future = np.round(10 + np.sin(np.arange(60, 72) * np.pi / 6) * 3, 3)
    forecast = np.round(future + rng.normal(0.2, 0.5, 12), 3)
    naive = float(np.mean(abs(history[12:] - history[:-12])))
    forecasts = {
        "history": history.tolist(),
        "season": 12,
        "predicted": forecast.tolist(),
        "actual": future.tolist(),
        "naive": naive,
        "mase": mean_interval(abs(forecast - future) / naive),
        "bias": mean_interval((forecast - future) / naive),
    }
    shares = []
    for hits, n, level in [(0, 10, 0.95), (3, 10, 0.95), (10, 10, 0.9), (970, 1000, 0.99), (1, 100000, 0.95)]:
        interval = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        shares.append({"hits": hits, "n": n, "confidence": level, "low": interval.low, "high": interval.high})
    write(
        "accuracy",
        {
            "binary": binary, "classes": classes, "probabilities": probabilities, "regression": regression,
            "ranking": ranks, "forecast": forecasts, "shares": shares, "z": float(stats.norm.ppf(0.975)),
        },
    )  # fmt: skip


def counted(frame, columns):
    """Rows with their counts: the scores of NannyML's data sets have two decimals."""
    groups = frame.groupby(columns).size().reset_index(name="count")
    return [[v.item() if hasattr(v, "item") else v for v in row] for row in groups.itertuples(index=False)]


def unrounded(raw, calibrated):
    """The areas as NannyML computes them, but for its rounding of counts to five decimals."""
    order = np.argsort(raw, kind="stable")[::-1]
    hits = np.cumsum(calibrated[order])
    answered = np.arange(1, len(hits) + 1)
    tpr, fpr = np.r_[0, hits] / hits[-1], np.r_[0, answered - hits] / (answered - hits)[-1]
    precision = float(np.sum(calibrated[order] * hits / answered) / hits[-1])
    return [float(np.trapezoid(tpr, fpr)), precision]


def estimate():
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it sends statistics of its use
    import nannyml
    from sklearn.isotonic import IsotonicRegression

    names = ["accuracy", "precision", "recall", "specificity", "f1", "roc_auc", "average_precision"]
    binary = []
    for data, label, size in [(nannyml.load_synthetic_car_loan_dataset, "repaid", 5000),
                              (nannyml.load_synthetic_binary_classification_dataset, "work_home_actual", 5000)]:  # fmt: skip
        reference, analysis, _ = data()
        model = nannyml.CBPE(
            problem_type="classification_binary", y_pred_proba="y_pred_proba", y_pred="y_pred", y_true=label,
            metrics=names, chunk_size=size,
        )  # fmt: skip
        model.fit(reference)
        assert model.needs_calibration
        results = model.estimate(analysis).filter(period="analysis").to_df()
        chunks = []
        for i in (0, len(results) // 2, len(results) - 1):
            chunk = analysis.iloc[i * size : (i + 1) * size]
            calibrated = np.asarray(model.calibrator.calibrate(chunk["y_pred_proba"]))
            chunks.append(
                {
                    "rows": counted(chunk, ["y_pred_proba", "y_pred"]),
                    "estimates": [float(results[name]["value"].iloc[i]) for name in names],
                    "unrounded": unrounded(chunk["y_pred_proba"].to_numpy(), calibrated),
                }
            )
        reference[label] = reference[label].astype(int)
        binary.append({"reference": counted(reference, ["y_pred_proba", label]), "chunks": chunks})

    rng = np.random.default_rng(20)
    honest = np.round(rng.uniform(0, 1, 400), 2)
    labels = (rng.uniform(0, 1, 400) < honest).astype(int)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(honest, labels)
    at = np.round(np.linspace(0, 1, 41), 4)
    regression = {
        "x": honest.tolist(), "y": labels.tolist(), "at": at.tolist(), "values": isotonic.predict(at).tolist()
    }  # fmt: skip

    reference, analysis, _ = nannyml.load_synthetic_multiclass_classification_dataset()
    classes = ["highstreet_card", "prepaid_card", "upmarket_card"]
    columns = {name: f"y_pred_proba_{name}" for name in classes}
    reference, analysis = reference.iloc[:3000].copy(), analysis.iloc[30000:30600]
    several = ["accuracy", "precision", "recall", "f1"]
    model = nannyml.CBPE(
        problem_type="classification_multiclass", y_pred_proba=columns, y_pred="y_pred", y_true="y_true",
        metrics=several, chunk_size=600,
    )  # fmt: skip
    model.fit(reference)
    results = model.estimate(analysis).filter(period="analysis").to_df()
    percent = lambda frame: np.round(frame[[columns[name] for name in classes]].to_numpy() * 100).astype(int).tolist()
    index = lambda column: [classes.index(name) for name in column]
    assert all(type(model._calibrators[name]).__name__ == "IsotonicCalibrator" for name in classes)
    multiclass = {
        "reference": percent(reference),
        "actual": index(reference["y_true"]),
        "rows": percent(analysis),
        "answered": index(analysis["y_pred"]),
        "estimates": [float(results[name]["value"].iloc[0]) for name in several],
    }
    write("estimate", {"binary": binary, "isotonic": regression, "multiclass": multiclass})


def fairness():
    from fairlearn import metrics
    from statsmodels.stats.proportion import confint_proportions_2indep

    rng = np.random.default_rng(21)
    cases = []
    for sizes in ([120, 80], [300, 40, 90, 60]):
        groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
        labels = (rng.uniform(size=len(groups)) < 0.4).astype(int)
        lean = np.repeat(np.linspace(0.25, 0.5, len(sizes)), sizes)
        answers = (rng.uniform(size=len(groups)) < lean + 0.3 * labels).astype(int)
        by = {"sensitive_features": groups}
        frame = metrics.MetricFrame(
            metrics={
                "selection": metrics.selection_rate,
                "tpr": metrics.true_positive_rate,
                "fpr": metrics.false_positive_rate,
            },
            y_true=labels, y_pred=answers, **by,
        ).by_group  # fmt: skip
        hits, n = [int(answers[groups == g].sum()) for g in ("g0", "g1")], sizes[:2]
        highest, lowest = (0, 1) if hits[0] / n[0] > hits[1] / n[1] else (1, 0)
        pair = lambda a, b, **how: [
            float(v) for v in confint_proportions_2indep(hits[a], n[a], hits[b], n[b], **how)
        ]
        cases.append(
            {
                "groups": groups.tolist(),
                "labels": labels.tolist(),
                "answers": answers.tolist(),
                "rates": {g: [float(v) for v in frame.loc[g]] for g in sorted(set(groups))},
                "parity_difference": float(metrics.demographic_parity_difference(labels, answers, **by)),
                "parity_ratio": float(metrics.demographic_parity_ratio(labels, answers, **by)),
                "odds_difference": float(metrics.equalized_odds_difference(labels, answers, **by)),
                "odds_ratio": float(metrics.equalized_odds_ratio(labels, answers, **by)),
                "opportunity_difference": float(metrics.equal_opportunity_difference(labels, answers, **by)),
                "opportunity_ratio": float(metrics.equal_opportunity_ratio(labels, answers, **by)),
                "difference_interval": pair(highest, lowest, method="newcomb", compare="diff"),
                "ratio_interval": pair(lowest, highest, method="log-adjusted", compare="ratio"),
            }
        )
    write("fairness", {"cases": cases})


PARTS = {"drift": drift, "accuracy": accuracy, "estimate": estimate, "fairness": fairness}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
