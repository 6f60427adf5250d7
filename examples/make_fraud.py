"""`fraud`: gradient-boosted trees that tell fraudulent card transactions, on a generated set.

No real transactions are in here. The features are drawn to look like those of a card processor, fraud is drawn with a
probability that depends on them through thresholds and interactions, and a little noise on the labels keeps the
problem from being perfectly solvable.
"""

import lightgbm
import numpy as np
import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.metrics import average_precision_score, roc_auc_score

import bundle

SEED = 11
TRAIN_ROWS = 60_000
HELDOUT_ROWS = 2_000
TREES = 500
LEAVES = 31
TARGET_SHARE = 0.025


def main():
    """Draws the set, trains, converts and writes the bundle."""
    random = np.random.default_rng(SEED)
    features = draw_features(random, TRAIN_ROWS + HELDOUT_ROWS)
    fraud = draw_fraud(random, features)
    names = list(features)
    rows = np.column_stack([rounded(features[name]) for name in names])
    train, heldout = rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]
    train_labels, heldout_labels = fraud[:TRAIN_ROWS], fraud[TRAIN_ROWS:]

    classifier = lightgbm.LGBMClassifier(
        n_estimators=TREES,
        num_leaves=LEAVES,
        learning_rate=0.02,
        min_child_samples=20,
        feature_fraction=0.6,
        reg_lambda=5.0,
        random_state=SEED,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    ).fit(train, train_labels)
    model = onnxmltools.convert_lightgbm(
        classifier,
        initial_types=[("transaction", FloatTensorType([None, len(names)]))],
        target_opset=15,
        zipmap=False,
    )

    labels, probabilities = bundle.write(
        "fraud",
        "Whether a card transaction is fraudulent, from 30 features",
        model,
        names,
        heldout,
        heldout_labels,
        ["legitimate", "fraud"],
    )
    bundle.check_agreement(labels, probabilities, classifier.predict(heldout), classifier.predict_proba(heldout))
    leaves = sum(tree["num_leaves"] for tree in classifier.booster_.dump_model()["tree_info"])
    print(
        f"fraud: {TREES} trees with {leaves} leaves; {len(heldout)} held-out transactions, "
        f"{heldout_labels.mean():.3%} fraud, accuracy {np.mean(labels == heldout_labels):.4f}, "
        f"ROC AUC {roc_auc_score(heldout_labels, probabilities[:, 1]):.4f}, "
        f"average precision {average_precision_score(heldout_labels, probabilities[:, 1]):.4f}"
    )


def draw_features(random, rows):
    """The 30 features by name, each a column of `rows` numbers."""
    hour = np.where(random.random(rows) < 0.85, random.normal(14, 4.5, rows), random.uniform(0, 24, rows)) % 24
    account_age_days = random.gamma(2.0, 400, rows)
    mean_amount_30d = random.lognormal(3.4, 0.6, rows)
    amount = mean_amount_30d * random.lognormal(0, 0.9, rows)
    transactions_24h = random.poisson(2.5, rows)
    is_foreign = random.random(rows) < 0.08
    distance_home_km = random.lognormal(2.0, 1.2, rows) * np.where(is_foreign, 40, 1)
    online = random.random(rows) < 0.45
    credit_limit = random.lognormal(8.0, 0.5, rows)
    return {
        "amount": amount,
        "hour": np.floor(hour),
        "day_of_week": random.integers(0, 7, rows),
        "merchant_risk": random.beta(2, 8, rows),
        "merchant_age_days": random.gamma(1.5, 700, rows),
        "merchant_category": random.integers(0, 20, rows),
        "account_age_days": np.floor(account_age_days),
        "card_age_days": np.floor(account_age_days * random.beta(2, 2, rows)),
        "credit_limit": credit_limit,
        "utilization": random.beta(2, 5, rows),
        "mean_amount_30d": mean_amount_30d,
        "amount_to_mean": amount / mean_amount_30d,
        "amount_to_limit": amount / credit_limit,
        "transactions_1h": random.binomial(transactions_24h, 0.15),
        "transactions_24h": transactions_24h,
        "transactions_7d": transactions_24h + random.poisson(12, rows),
        "declined_24h": random.poisson(0.15, rows),
        "minutes_since_last": random.exponential(400, rows),
        "distance_home_km": distance_home_km,
        "distance_last_km": distance_home_km * random.lognormal(-0.5, 0.8, rows),
        "is_foreign": is_foreign,
        "is_online": online,
        "chip_present": ~online & (random.random(rows) < 0.9),
        "device_age_days": np.floor(random.exponential(200, rows)),
        "device_new": random.random(rows) < 0.1,
        "ip_risk": random.beta(1.5, 9, rows),
        "email_age_days": np.floor(random.gamma(2.0, 600, rows)),
        "billing_matches_shipping": random.random(rows) < 0.9,
        "failed_logins_24h": random.poisson(0.2, rows),
        "chargebacks_1y": random.poisson(0.03, rows),
    }


def draw_fraud(random, of):
    """1 for fraud: log-odds from thresholds and interactions, shifted until the share is `TARGET_SHARE`."""
    night = (of["hour"] < 6).astype(float)
    score = (
        1.4 * np.log1p(of["amount_to_mean"])
        + 5.0 * of["merchant_risk"]
        + 6.0 * of["ip_risk"] * of["is_online"]
        + 1.6 * night * (of["amount_to_mean"] > 2)
        + 1.2 * np.minimum(of["declined_24h"], 3)
        + 1.0 * np.minimum(of["failed_logins_24h"], 3)
        + 2.0 * np.minimum(of["chargebacks_1y"], 2)
        + 2.2 * (of["is_foreign"] & ~of["chip_present"])
        + 1.5 * (of["device_new"] & of["is_online"])
        + 1.3 * ((of["account_age_days"] < 90) | (of["email_age_days"] < 60))
        + 1.1 * (of["transactions_1h"] >= 2)
        + 0.9 * (of["is_online"] & ~of["billing_matches_shipping"])
        + 0.5 * np.log1p(of["distance_last_km"] / 50)
        - 1.2 * of["chip_present"]
        + 0.8 * np.isin(of["merchant_category"], [3, 7, 15])
        + random.normal(0, 0.5, len(night))
    ) * 1.6
    low, high = -40.0, 40.0
    for _ in range(60):
        shift = (low + high) / 2
        share = np.mean(1 / (1 + np.exp(-(score + shift))))
        low, high = (shift, high) if share < TARGET_SHARE else (low, shift)
    return (random.random(len(score)) < 1 / (1 + np.exp(-(score + shift)))).astype(np.int64)


def rounded(column):
    """Four significant digits, as a float32: what a transaction would carry, and short to write."""
    column = np.asarray(column, dtype=np.float64)
    digits = 3 - np.floor(np.log10(np.maximum(np.abs(column), 1e-3))).astype(int)
    return np.array([round(value, max(place, 0)) for value, place in zip(column, digits)], dtype=np.float32)


if __name__ == "__main__":
    main()
