"""Makes the vectors that `tests/sklearn.rs` compares with: what scikit-learn makes of rows.

    pip install scikit-learn==1.9.1 pandas==3.1.1
    python make_vectors.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.calibration import _SigmoidCalibration
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (Binarizer, FunctionTransformer, KBinsDiscretizer, MaxAbsScaler,
                                   MinMaxScaler, OneHotEncoder, OrdinalEncoder, PowerTransformer,
                                   RobustScaler, StandardScaler, TargetEncoder)

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "exporter"))
import tidegate_sklearn as exporter  # noqa: E402

ROWS = 40


def write(name, manifest, frame, expected, state=None):
    rows = frame.to_dict("records")
    records = [{key: plain(value) for key, value in row.items()} for row in rows]
    case = {
        "manifest": manifest,
        "state": state,
        "body": json.dumps({"instances": records}),
        "expected": [[exporter.number(value) for value in row] for row in exporter.dense(expected)],
    }
    (HERE / f"{name}.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")
    print(name, len(records), "rows", len(case["expected"][0]), "columns")


def plain(value):
    if isinstance(value, pd.Timestamp):
        return None if pd.isna(value) else value.isoformat()
    return exporter.plain(value)


def fitted(name, transformer, train, test, before=""):
    """The case of a fitted transformer on rows that it was not fitted on."""
    path = HERE / "state.tmp"
    exporter.export(transformer, train, path)
    state = path.read_text()
    path.unlink()
    manifest = exporter.fields(pd.concat([train, test])) + before + STEP
    write(name, manifest, test, transformer.transform(test), state)


STEP = """
[[pipeline.before]]
step = "fitted"
output = "x"
"""


def with_missing(frame, share, seed):
    frame = frame.copy()
    mask = np.random.default_rng(seed).random(frame.shape) < share
    return frame.mask(pd.DataFrame(mask, index=frame.index, columns=frame.columns))


def breast_cancer():
    frame = with_missing(load_breast_cancer(as_frame=True).data, 0.05, 1)
    names = list(frame.columns)
    transformer = ColumnTransformer([
        ("mean", make_pipeline(SimpleImputer(strategy="mean", add_indicator=True), StandardScaler()),
         names[0:4]),
        ("median", make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler((-1, 2), clip=True)),
         names[4:8]),
        ("frequent", make_pipeline(SimpleImputer(strategy="most_frequent"), RobustScaler()),
         names[8:12]),
        ("constant", make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), MaxAbsScaler()),
         names[12:14]),
        ("yeo", PowerTransformer(), names[14:17]),
        ("box", make_pipeline(SimpleImputer(), PowerTransformer("box-cox", standardize=False)),
         names[20:23]),
        ("bins", make_pipeline(SimpleImputer(), KBinsDiscretizer(4, encode="onehot-dense",
                                                                 quantile_method="linear")), names[17:19]),
        ("ordinal bins", make_pipeline(SimpleImputer(), KBinsDiscretizer(
            5, encode="ordinal", strategy="uniform")), names[19:20]),
        ("log", FunctionTransformer(np.log1p), names[23:25]),
        ("two", FeatureUnion([("scaled", StandardScaler(with_mean=False)),
                              ("same", "passthrough")], transformer_weights={"same": 0.5}), names[25:27]),
        ("above", make_pipeline(SimpleImputer(), Binarizer(threshold=0.2)), names[27:28]),
        ("nothing", "drop", names[28:29]),
    ], remainder="passthrough", transformer_weights={"mean": 2.0})
    train, test = frame[:400], frame[400:400 + ROWS]
    fitted("breast_cancer", transformer.fit(train), train, test)


def diabetes():
    frame = load_diabetes(as_frame=True).data
    # Categories that are floats, which must be equal to the last bit.
    transformer = ColumnTransformer([
        ("sex", OneHotEncoder(drop="if_binary"), ["sex"]),
        ("bins", KBinsDiscretizer(6, strategy="kmeans", encode="onehot", random_state=0), ["bmi", "bp"]),
        ("age", OneHotEncoder(handle_unknown="ignore"), ["age"]),
        ("functions", Pipeline([("abs", FunctionTransformer(np.absolute)),
                                ("root", FunctionTransformer(np.sqrt))]), ["s1", "s2", "s3"]),
        ("power", PowerTransformer(), ["s4", "s5", "s6"]),
    ])
    train, test = frame[:300], frame[300:300 + ROWS]
    fitted("diabetes", transformer.fit(train), train, test)


def wine():
    data = load_wine(as_frame=True)
    random = np.random.default_rng(3)
    frame = with_missing(data.data, 0.08, 2)
    regions = np.array(["Piemonte", "Toscana", "Sicilia", "Umbria", "Veneto", "Südtirol"])
    weights = [0.4, 0.3, 0.15, 0.1, 0.04, 0.01]
    frame["region"] = pd.Series(random.choice(regions, len(frame), p=weights), dtype=object)
    frame["grape"] = pd.Series(random.choice(["a", "b", "c"], len(frame)), dtype=object)
    frame["year"] = random.integers(1990, 1996, len(frame)).astype(float)
    frame["organic"] = random.random(len(frame)) < 0.5
    frame["lot"] = pd.Series([f"L{at % 7}" for at in range(len(frame))], dtype=object)
    frame.loc[frame.index % 9 == 0, "grape"] = np.nan
    frame.loc[frame.index % 11 == 0, "year"] = np.nan
    order = random.permutation(len(frame))
    frame, target = frame.iloc[order].reset_index(drop=True), data.target.iloc[order].to_numpy()
    train, test = frame[:130], frame[130:].copy()
    # Values that were not there when it was fitted.
    test.iloc[0, test.columns.get_loc("region")] = "Bordeaux"
    test.iloc[1, test.columns.get_loc("grape")] = "d"
    test.iloc[2, test.columns.get_loc("year")] = 2024.0
    test.iloc[3, test.columns.get_loc("lot")] = ""
    transformer = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True),
                                  StandardScaler()), list(data.data.columns)),
        ("one hot", OneHotEncoder(handle_unknown="ignore"), ["region", "grape", "year"]),
        ("infrequent", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.12),
         ["region", "grape"]),
        ("few", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"),
         ["region"]),
        ("first", OneHotEncoder(handle_unknown="ignore", drop="first"), ["region", "organic"]),
        ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1,
                                   encoded_missing_value=-2), ["region", "grape", "year"]),
        ("ordinal nan", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan,
                                       min_frequency=20), ["region"]),
        ("target", TargetEncoder(target_type="multiclass", random_state=0), ["region", "grape", "lot"]),
        ("filled", make_pipeline(SimpleImputer(strategy="most_frequent"),
                                 OneHotEncoder(handle_unknown="ignore")), ["grape", "lot"]),
        ("constant", make_pipeline(SimpleImputer(strategy="constant", fill_value="none",
                                                 add_indicator=True),
                                   OrdinalEncoder(handle_unknown="use_encoded_value",
                                                  unknown_value=-1)), ["grape"]),
        ("truth", "passthrough", ["organic"]),
    ])
    target = target[:130]
    fitted("wine", transformer.fit(train, target), train, test)
    binary = ColumnTransformer([
        ("auto", TargetEncoder(target_type="binary", random_state=0), ["region", "grape"]),
        ("smooth", TargetEncoder(target_type="continuous", smooth=5.0, random_state=0), ["year", "lot"]),
    ])
    fitted("wine_binary", binary.fit(train, (target == 1).astype(int)), train, test)


def mixed():
    """Strings, numbers, truth values and dates; parts of the dates and crosses are native steps."""
    random = np.random.default_rng(5)
    count = 200
    frame = pd.DataFrame({
        "amount": np.round(random.lognormal(3, 1, count), 2),
        "balance": np.round(random.normal(1000, 800, count), 2),
        "country": pd.Series(random.choice(["DE", "FR", "IT", "ES"], count), dtype=object),
        "channel": pd.Series(random.choice(["web", "app"], count), dtype=object),
        "is_new": random.random(count) < 0.3,
        "opened": pd.Timestamp("2023-01-01") + pd.to_timedelta(random.integers(0, 900 * 86400, count),
                                                               unit="s"),
    })
    frame.loc[frame.index % 7 == 0, "country"] = np.nan
    frame.loc[frame.index % 13 == 0, "balance"] = np.nan
    opened = frame["opened"].dt
    made = frame.drop(columns="opened")
    parts = {
        "year": opened.year, "quarter": opened.quarter, "month": opened.month,
        "week": opened.isocalendar().week, "day": opened.day, "day_of_year": opened.day_of_year,
        "weekday": opened.day_of_week, "is_weekend": (opened.day_of_week >= 5).astype(int),
        "hour": opened.hour, "minute": opened.minute, "second": opened.second,
        "epoch_seconds": frame["opened"].astype("datetime64[s]").astype("int64"),
    }
    for part, values in parts.items():
        made[f"opened_{part}"] = values.astype(float)
    for name, function in [("sin", np.sin), ("cos", np.cos)]:
        made[f"opened_hour_{name}"] = function(made["opened_hour"] * 2 * np.pi / 24)
    made["share"] = made["amount"] / made["balance"]
    made["where"] = (made["country"] + "/" + made["channel"]).astype(object)
    made = made.drop(columns="channel")
    text = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"),
                         OneHotEncoder(handle_unknown="ignore"))
    transformer = ColumnTransformer([
        ("text", text, ["country", "where"]),
        ("truth", "passthrough", ["is_new"]),
    ], remainder=make_pipeline(SimpleImputer(), StandardScaler()))
    train, test = made[:150], made[150:150 + ROWS]
    path = HERE / "state.tmp"
    exporter.export(transformer.fit(train), train, path)
    state = path.read_text()
    path.unlink()
    manifest = """
[[pipeline.fields]]
name = "opened"
type = "time"

""" + exporter.fields(frame.drop(columns="opened")) + f"""
[[pipeline.before]]
step = "date_parts"
input = "opened"
parts = {json.dumps(list(parts))}

[[pipeline.before]]
step = "cyclical"
input = "opened_hour"
period = 24

[[pipeline.before]]
step = "ratio"
numerator = "amount"
denominator = "balance"
output = "share"

[[pipeline.before]]
step = "cross"
inputs = ["country", "channel"]
separator = "/"
output = "where"
""" + STEP
    write("mixed", manifest, frame[150:150 + ROWS], transformer.transform(test), state)


def hashed():
    frame = pd.DataFrame({
        "dog": [1.0, 2.0, 0.0, -3.5, np.nan],
        "country": pd.Series(["DE", "FR", "Österreich", None, ""], dtype=object),
        "city": pd.Series(["Köln", "東京", "Rome", "Roma", "x"], dtype=object),
    })
    records = exporter.dicts(list(frame.columns), frame.to_numpy().tolist())
    transformer = FeatureHasher(n_features=8, input_type="dict")
    path = HERE / "state.tmp"
    exporter.export(transformer, frame, path)
    state = path.read_text()
    path.unlink()
    write("hashed", exporter.fields(frame) + STEP, frame, transformer.transform(records), state)


def scores():
    """Steps after the engine: the scores are fields here, which makes no difference to the steps."""
    random = np.random.default_rng(7)
    raw = random.normal(0, 2, ROWS)
    labels = (random.random(ROWS) < 1 / (1 + np.exp(-raw))).astype(int)
    platt = _SigmoidCalibration().fit(raw, labels)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(raw, labels)
    test = random.normal(0, 3, ROWS)
    frame = pd.DataFrame({"score": test, "other": random.normal(0, 1, ROWS)})
    both = np.exp(frame.to_numpy())
    expected = np.column_stack([
        platt.predict(test), isotonic.predict(test), both / both.sum(axis=1, keepdims=True),
        frame.to_numpy().argmax(axis=1), np.round(test, 2), 1 / (1 + np.exp(-test)),
        np.digitize(test, [-1, 0, 1]),
    ])
    x, y = isotonic.X_thresholds_.tolist(), isotonic.y_thresholds_.tolist()
    manifest = exporter.fields(frame) + f"""
[[pipeline.before]]
step = "calibrate"
input = "score"
output = "platt"
calibration = {{ method = "platt", a = {platt.a_!r}, b = {platt.b_!r} }}

[[pipeline.before]]
step = "calibrate"
input = "score"
output = "isotonic"
calibration = {{ method = "isotonic", x = {x}, y = {y} }}

[[pipeline.before]]
step = "concat"
inputs = ["score", "other"]
output = "both"

[[pipeline.before]]
step = "softmax"
input = "both"
output = "softmax"

[[pipeline.before]]
step = "argmax"
input = "both"
output = "best"

[[pipeline.before]]
step = "round"
input = "score"
digits = 2
output = "rounded"

[[pipeline.before]]
step = "sigmoid"
input = "score"
output = "sigmoid"

[[pipeline.before]]
step = "bucketize"
input = "score"
edges = [-1, 0, 1]
output = "bucket"

[[pipeline.inputs]]
name = "x"
columns = ["platt", "isotonic", "softmax", "best", "rounded", "sigmoid", "bucket"]
""".replace("np.float64(", "").replace("),", ",").replace(") }", " }")
    write("scores", manifest, frame, expected)


if __name__ == "__main__":
    for case in [breast_cancer, diabetes, wine, mixed, hashed, scores]:
        case()
