"""Writes fitted scikit-learn transformers as the state file of a Tidegate pipeline.

    from tidegate_sklearn import export
    export(column_transformer, frame, "preprocess.json")

`frame` has rows like those that the transformer was fitted on (a pandas data frame, or an array with
`columns=[…]`). It gives the names and types of the columns. Its first rows go into the file with their
results, and the server refuses the file if it does not get the same results.

Exported are Pipeline, ColumnTransformer and FeatureUnion of: SimpleImputer, MissingIndicator,
StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, FunctionTransformer with
functions of NumPy, KBinsDiscretizer, Binarizer, OneHotEncoder, OrdinalEncoder, TargetEncoder,
FeatureHasher, selectors of features, "passthrough" and "drop". Everything else is refused by name.

Run `python tidegate_sklearn.py FITTED.joblib FRAME.parquet STATE.json` from a shell.
"""

import json
import math
import sys

import numpy as np
import sklearn

FUNCTIONS = ["log1p", "log", "log2", "log10", "exp", "expm1", "sqrt", "cbrt", "square", "absolute",
             "negative", "reciprocal", "sign", "sin", "cos", "tanh", "floor", "ceil", "rint"]
EXAMPLES = 20
# A probe of an encoder for each category: larger encoders are probed in parts.
PROBE_ROWS = 4096


class CannotExport(ValueError):
    """A transformer, or a setting of one, that the server cannot run."""


def export(transformer, frame, path, name="columns", columns=None):
    """Writes the state file of one transformer, and returns what it wrote."""
    return export_all({name: transformer}, frame, path, columns)


def export_all(transformers, frame, path, columns=None):
    """Writes the state file of several transformers, by name."""
    written = {name: describe(one, frame, columns) for name, one in transformers.items()}
    state = {
        "format": "tidegate-pipeline-state",
        "version": 1,
        "made_with": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "transformers": written,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(state, file, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        file.write("\n")
    return state


def fields(frame, columns=None):
    """The section `[[pipeline.fields]]` for the columns of a frame, to start a `model.toml` with."""
    names, types, rows = inputs_of(frame, columns, rows=None)
    text = ""
    for at, (name, kind) in enumerate(zip(names, types)):
        optional = any(is_missing(row[at]) for row in rows)
        text += f"[[pipeline.fields]]\nname = {json.dumps(name)}\ntype = \"{kind}\"\n"
        text += "optional = true\n\n" if optional else "\n"
    return text


def describe(transformer, frame, columns=None):
    """One transformer as the state file has it."""
    transformer = without_estimator(transformer)
    names, types, rows = inputs_of(frame, columns)
    wanted = getattr(transformer, "feature_names_in_", None)
    if wanted is not None:
        places = [names.index(one) for one in wanted]
        names, types = [names[at] for at in places], [types[at] for at in places]
        rows = [[row[at] for at in places] for row in rows]
        frame = frame[list(wanted)]
    state = node(transformer, names)
    sample = dicts(names, rows) if is_hasher(transformer) else frame[:EXAMPLES]
    expected = dense(transformer.transform(sample))
    return {
        "inputs": [{"name": name, "type": kind} for name, kind in zip(names, types)],
        "outputs": output_names(transformer, expected.shape[1]),
        "node": state,
        "examples": {
            "rows": [[plain(value) for value in row] for row in rows],
            "expected": [[number(value) for value in row] for row in expected],
        },
    }


def node(transformer, names):
    """A transformer as a tree of operations. `names` are those of the columns that it takes."""
    if isinstance(transformer, str):
        if transformer == "passthrough":
            return {"op": "select"}
        if transformer == "drop":
            return {"op": "select", "columns": []}
    for kind in type(transformer).__mro__:
        if kind.__name__ in EXPORTERS and kind.__module__.split(".")[0] == "sklearn":
            return EXPORTERS[kind.__name__](transformer, names)
    if hasattr(transformer, "get_support"):
        return {"op": "select", "columns": [int(at) for at in transformer.get_support(indices=True)]}
    raise CannotExport(
        f"{type(transformer).__name__} cannot be exported. Exported are: {', '.join(EXPORTERS)}, and "
        "selectors of features. Put it into the model itself, or replace it.")


def pipeline(transformer, names):
    steps = []
    for _, step in transformer.steps:
        if step is None or step == "passthrough":
            continue
        steps.append(node(step, names))
        check_none(steps, names)
        width = width_out(step, len(names))
        if width != len(names):
            names = [f"column {at}" for at in range(width)]
    return {"op": "chain", "steps": steps}


def check_none(steps, names):
    """Refuses None in a column whose missing values are imputed: to scikit-learn, only NaN is missing."""
    if len(steps) < 2 or steps[-2]["op"] != "impute" or steps[-2].get("indicators"):
        return
    filled = [value for value in steps[-2]["values"] if value is not None]
    for value, column, name in zip(filled, steps[-1].get("columns") or [], names):
        if isinstance(value, str) and isinstance(column, dict) and None in column["categories"]:
            raise CannotExport(f"\"{name}\" has None, which SimpleImputer does not take as missing: "
                               "replace None by np.nan before fitting")


def column_transformer(transformer, names):
    parts = []
    places = transformer._transformer_to_input_indices
    for name, fitted, _ in transformer.transformers_:
        own = [int(at) for at in places[name]]
        if isinstance(fitted, str) and fitted == "drop" or not own:
            continue
        try:
            part = node(fitted, [names[at] for at in own])
        except CannotExport as error:
            raise CannotExport(f"in \"{name}\": {error}") from None
        weight = (transformer.transformer_weights or {}).get(name)
        parts.append({"name": name, "columns": own, "node": weighted(part, weight, fitted, len(own))})
    return {"op": "union", "parts": parts}


def feature_union(transformer, names):
    parts = []
    for name, fitted in transformer.transformer_list:
        if isinstance(fitted, str) and fitted == "drop":
            continue
        weight = (transformer.transformer_weights or {}).get(name)
        part = weighted(node(fitted, names), weight, fitted, len(names))
        parts.append({"name": name, "columns": list(range(len(names))), "node": part})
    return {"op": "union", "parts": parts}


def weighted(part, weight, fitted, count):
    if weight is None:
        return part
    weights = [float(weight)] * width_out(fitted, count)
    return {"op": "chain", "steps": [part, {"op": "affine", "multiply": weights}]}


def simple_imputer(imputer, names):
    statistics = list(imputer.statistics_)
    kept = [not is_missing(value) for value in statistics]
    if imputer.keep_empty_features:
        kept = [True] * len(statistics)
    missing = imputer.missing_values
    state = {"op": "impute",
             "values": [category(value) if keep else None for value, keep in zip(statistics, kept)]}
    if not is_missing(missing):
        if isinstance(missing, str):
            raise CannotExport(f"SimpleImputer(missing_values={missing!r}): send null in its place, "
                               "and fit with missing_values=np.nan")
        state["missing"] = float(missing)
    if imputer.add_indicator:
        state["indicators"] = [int(at) for at in imputer.indicator_.features_]
    return state


def missing_indicator(indicator, names):
    if not is_missing(indicator.missing_values):
        raise CannotExport("MissingIndicator is exported with missing_values=np.nan only")
    state = {"op": "impute", "values": [None] * len(names)}
    return state | {"indicators": [int(at) for at in indicator.features_]}


def standard_scaler(scaler, names):
    return affine(subtract=scaler.mean_ if scaler.with_mean else None,
                  divide=scaler.scale_ if scaler.with_std else None)


def min_max_scaler(scaler, names):
    state = affine(multiply=scaler.scale_, add=scaler.min_)
    if scaler.clip:
        state["clip"] = [float(edge) for edge in scaler.feature_range]
    return state


def max_abs_scaler(scaler, names):
    state = affine(divide=scaler.scale_)
    return state | {"clip": [-1.0, 1.0]} if getattr(scaler, "clip", False) else state


def robust_scaler(scaler, names):
    return affine(subtract=scaler.center_ if scaler.with_centering else None,
                  divide=scaler.scale_ if scaler.with_scaling else None)


def affine(**lists):
    lists = {key: numbers(values) for key, values in lists.items() if values is not None}
    return {"op": "affine", **lists}


def power_transformer(transformer, names):
    state = {"op": "power", "method": transformer.method, "lambdas": numbers(transformer.lambdas_)}
    if not transformer.standardize:
        return state
    return {"op": "chain", "steps": [state, standard_scaler(transformer._scaler, names)]}


def function_transformer(transformer, names):
    function = transformer.func
    if function is None:
        return {"op": "select"}
    name = getattr(function, "__name__", "")
    if name not in FUNCTIONS or getattr(np, name) is not function or transformer.kw_args:
        raise CannotExport(f"FunctionTransformer({function!r}): only these functions of NumPy can be "
                           f"exported, without arguments: {', '.join(FUNCTIONS)}")
    return {"op": "function", "name": name}


def k_bins(binner, names):
    inner = [numbers(edges[1:-1]) for edges in binner.bin_edges_]
    state = {"op": "bins", "edges": inner}
    if binner.encode == "ordinal":
        return state
    return {"op": "chain", "steps": [state, one_hot(binner._encoder, names)]}


def binarizer(transformer, names):
    # Above the threshold is 1: the edge is the next number above it.
    edge = math.nextafter(float(transformer.threshold), math.inf)
    return {"op": "bins", "edges": [[edge]] * len(names)}


def one_hot(encoder, names):
    columns = []
    for at, (categories, width) in enumerate(zip(encoder.categories_, encoder._n_features_outs)):
        begin = int(sum(encoder._n_features_outs[:at]))
        rows = probes(encoder, at)[:, begin:begin + width]
        slots = [int(row.argmax()) if row.any() else None for row in rows]
        columns.append({"categories": listed(categories, names[at]), "slots": slots,
                        "width": int(width), "unknown": one_hot_unknown(encoder, at, slots)})
    return {"op": "one_hot", "columns": columns}


def one_hot_unknown(encoder, at, slots):
    if encoder.handle_unknown == "error":
        return "reject"
    infrequent = getattr(encoder, "_infrequent_indices", None)
    if encoder.handle_unknown in ("infrequent_if_exist", "warn") and infrequent is not None \
            and infrequent[at] is not None:
        slot = slots[int(infrequent[at][0])]
        return "zeros" if slot is None else slot
    return "zeros"


def ordinal(encoder, names):
    columns = []
    for at, categories in enumerate(encoder.categories_):
        codes = probes(encoder, at)[:, at]
        column = {"categories": listed(categories, names[at]), "width": 1,
                  "numbers": [[number(code)] for code in codes]}
        if encoder.handle_unknown == "use_encoded_value":
            column["unknown"] = [number(encoder.unknown_value)]
        columns.append(column)
    return {"op": "encode", "columns": columns}


def target(encoder, names):
    classes = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    means = np.atleast_1d(encoder.target_mean_)
    columns = []
    for at, categories in enumerate(encoder.categories_):
        encodings = encoder.encodings_[at * classes:(at + 1) * classes]
        columns.append({"categories": listed(categories, names[at]), "width": classes,
                        "numbers": [[number(one[place]) for one in encodings]
                                    for place in range(len(categories))],
                        "unknown": [number(mean) for mean in means]})
    return {"op": "encode", "columns": columns}


def hasher(transformer, names):
    if transformer.input_type != "dict":
        raise CannotExport("FeatureHasher is exported with input_type=\"dict\" only")
    if np.dtype(transformer.dtype).kind != "f":
        raise CannotExport("FeatureHasher is exported with a dtype of floats only")
    return {"op": "hash", "buckets": int(transformer.n_features),
            "alternate_sign": bool(transformer.alternate_sign)}


EXPORTERS = {
    "Pipeline": pipeline, "ColumnTransformer": column_transformer, "FeatureUnion": feature_union,
    "SimpleImputer": simple_imputer, "MissingIndicator": missing_indicator,
    "StandardScaler": standard_scaler, "MinMaxScaler": min_max_scaler,
    "MaxAbsScaler": max_abs_scaler, "RobustScaler": robust_scaler,
    "PowerTransformer": power_transformer, "FunctionTransformer": function_transformer,
    "KBinsDiscretizer": k_bins, "Binarizer": binarizer, "OneHotEncoder": one_hot,
    "OrdinalEncoder": ordinal, "TargetEncoder": target, "FeatureHasher": hasher,
}


def probes(encoder, at):
    """What an encoder makes of each category of one column; the other columns do not matter."""
    categories = encoder.categories_[at]
    made = []
    for begin in range(0, len(categories), PROBE_ROWS):
        part = categories[begin:begin + PROBE_ROWS]
        rows = np.empty((len(part), len(encoder.categories_)), dtype=object)
        for other, known in enumerate(encoder.categories_):
            rows[:, other] = known[0]
        rows[:, at] = part
        if all(known.dtype.kind != "O" and known.dtype.kind not in "US"
               for known in encoder.categories_):
            rows = rows.astype(np.result_type(*[known.dtype for known in encoder.categories_]))
        made.append(dense(bare(encoder).transform(rows)))
    return np.concatenate(made)


def bare(encoder):
    """The same encoder without the names of its columns, which arrays do not have."""
    import copy
    encoder = copy.copy(encoder)
    encoder.__dict__.pop("feature_names_in_", None)
    encoder.__dict__.pop("_sklearn_output_config", None)
    return encoder


def listed(categories, name):
    """Categories as JSON has them; None is the missing one."""
    made = [category(one) for one in categories]
    if made.count(None) > 1:
        raise CannotExport(f"column \"{name}\" has both None and NaN as categories; use one of them")
    return made


def category(value):
    if is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, str):
        return str(value)
    raise CannotExport(f"a value of type {type(value).__name__} ({value!r}) cannot be exported; "
                       "numbers, text and truth values can")


def inputs_of(frame, columns, rows=EXAMPLES):
    """Names and types of the columns, and the first rows; all of them if `rows` is None."""
    if not hasattr(frame, "columns"):
        array = np.asarray(frame)
        names = columns or [f"x{at}" for at in range(array.shape[1])]
        head = [list(row) for row in array[:rows]]
        if array.dtype.kind != "O":
            kind = "boolean" if array.dtype.kind == "b" else "number"
            return list(names), [kind] * len(names), head
        return list(names), [type_of(array[:, at]) for at in range(array.shape[1])], head
    names = [str(name) for name in frame.columns]
    head = frame[:rows]
    values = [list(row) for row in zip(*[head[name].tolist() for name in frame.columns])]
    return names, [series_type(frame[name]) for name in frame.columns], values


def series_type(series):
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        return "number"
    if kind == "b":
        return "boolean"
    if kind in "mM":
        raise CannotExport(f"column \"{series.name}\" has dates or times: make parts of them with the "
                           "step date_parts, and give the transformer those columns")
    return type_of(series.tolist())


def type_of(values):
    values = [value for value in values if not is_missing(value)]
    if all(isinstance(value, (bool, np.bool_)) for value in values) and values:
        return "boolean"
    if all(isinstance(value, (int, float, np.integer, np.floating)) for value in values) and values:
        return "number"
    return "string"


def is_missing(value):
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def plain(value):
    """A value of a row as JSON has it."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    value = category(value)
    # A number that JSON does not have.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value):
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values):
    found = [float(value) for value in values]
    if not all(math.isfinite(value) for value in found):
        raise CannotExport(f"a fitted number is not finite: {found}")
    return found


def dense(matrix):
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    if matrix.dtype.kind not in "biuf":
        try:
            return matrix.astype(np.float64)
        except (TypeError, ValueError):
            raise CannotExport("its results are not all numbers: encode the text columns") from None
    return matrix


def dicts(names, rows):
    return [{name: value for name, value in zip(names, row) if not is_missing(value)} for row in rows]


def is_hasher(transformer):
    return type(transformer).__name__ == "FeatureHasher"


def without_estimator(transformer):
    """A pipeline without its last step, if that is a model: the server has the model already."""
    if type(transformer).__name__ == "Pipeline" and not hasattr(transformer[-1], "transform") \
            and transformer[-1] != "passthrough":
        return transformer[:-1]
    return transformer


def width_out(transformer, width_in):
    """How many columns a fitted transformer makes."""
    if isinstance(transformer, str):
        return width_in if transformer == "passthrough" else 0
    if is_hasher(transformer):
        return transformer.n_features
    if type(transformer).__name__ == "FunctionTransformer":
        return width_in
    return len(transformer.get_feature_names_out())


def output_names(transformer, width):
    try:
        return [str(name) for name in transformer.get_feature_names_out()]
    except (AttributeError, ValueError):
        return [f"column {at}" for at in range(width)]


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__)
    import joblib
    import pandas
    fitted, frame, path = arguments
    read = pandas.read_parquet if frame.endswith(".parquet") else pandas.read_csv
    export(joblib.load(fitted), read(frame), path)


if __name__ == "__main__":
    main(sys.argv[1:])
