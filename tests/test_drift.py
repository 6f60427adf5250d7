"""`tidegate baseline` and `tidegate drift`: tables against the data that a model was trained on."""

import csv
import json
import subprocess

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_breast_cancer

from conftest import BINARY


def run(*arguments, code=0):
    ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stderr if code not in (0, None) and not ended.stdout else ended.stdout


def write(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
    return path


def payments(seed, rows):
    draw = np.random.default_rng(seed)
    return {
        "amount": draw.lognormal(3, 1, rows).round(2).astype(object),
        "age": draw.integers(18, 90, rows).astype(object),
        "country": draw.choice(["DE", "AT", "CH"], rows, p=[0.6, 0.3, 0.1]).astype(object),
        "zip": draw.choice([1010, 8010, 5020, 6020], rows).astype(object),
    }


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    train = write(folder / "train.csv", payments(1, 5000))
    output = folder / "baseline.json"
    assert "4 columns of 5000 rows" in run("baseline", train, "--output", output, "--category", "zip")
    return output


def compared(tmp_path, baseline, columns, *flags, code=0):
    window = write(tmp_path / "window.csv", columns)
    report = json.loads(run("drift", baseline, window, "--json", *flags, code=code))
    return {column["column"]: column for column in report["columns"]}, report


def test_the_same_distribution_has_not_drifted(tmp_path, baseline):
    columns, report = compared(tmp_path, baseline, payments(2, 2000), "--fail")
    assert [column["drifted"] for column in columns.values()] == [False] * 4
    assert (report["rows_reference"], report["rows"]) == (5000, 2000)


def test_the_stated_rate_of_false_alarms_holds(tmp_path, baseline):
    alarms = 0
    for seed in range(100, 160):
        columns, _ = compared(tmp_path, baseline, payments(seed, 500), "--false-alarm-rate", "0.05")
        alarms += any(column["drifted"] for column in columns.values())
    # 60 draws at 5 %: more than 9 have a chance of 0.1 %.
    assert alarms <= 9


@pytest.mark.parametrize(
    ("column", "change", "cause"),
    [
        ("amount", lambda values: [value * 100 for value in values], "values are multiplied by 100"),
        ("age", lambda values: [None if at % 4 == 0 else value for at, value in enumerate(values)], "25.0 % are missing, before 0.0 %"),
        ("age", lambda values: ["old" if at % 4 == 0 else value for at, value in enumerate(values)], "25.0 % are texts in place of numbers"),
        ("country", lambda values: ["DE" if value == "AT" else value for value in values], 'the category "AT" is lost'),
        ("country", lambda values: ["FR" if value == "AT" else value for value in values], 'the category "FR" is new'),
        ("zip", lambda values: [1010 if value == 8010 else value for value in values], 'the category "8010" is lost'),
    ],
)
def test_the_drifted_column_is_first_with_its_cause(tmp_path, baseline, column, change, cause):
    columns = payments(3, 2000)
    columns[column] = change(columns[column])
    found, report = compared(tmp_path, baseline, columns, "--fail", code=1)
    first = report["columns"][0]
    assert (first["column"], first["drifted"]) == (column, True)
    assert any(cause in text for text in first["causes"]), first["causes"]
    assert [name for name, one in found.items() if one["drifted"]] == [column]
    shown = run("drift", baseline, tmp_path / "window.csv")
    assert shown.startswith("1 of 4 columns drifted: 2000 rows against 5000 of the baseline")


def test_a_missing_column_has_drifted_and_others_are_ignored(tmp_path, baseline):
    columns = payments(4, 1000)
    del columns["age"]
    columns["new"] = ["x"] * 1000
    found, report = compared(tmp_path, baseline, columns)
    assert report["columns"][0]["column"] == "age" and "new" not in found


def test_scores_are_those_of_an_independent_computation(tmp_path):
    data = load_breast_cancer(as_frame=True).data
    train, window = data.iloc[:300], data.iloc[300:]
    files = [tmp_path / "train.csv", tmp_path / "window.csv"]
    for frame, file in zip((train, window), files):
        frame.to_csv(file, index=False)
    output = tmp_path / "baseline.json"
    run("baseline", files[0], "--output", output)
    bins = {column["name"]: column["bins"] for column in json.loads(output.read_text())["baseline"]["columns"]}
    report = json.loads(run("drift", output, files[1], "--json"))
    assert len(report["columns"]) == 30
    for column in report["columns"]:
        name = column["column"]
        found = str(bins[name])
        upper = [float(edge) for edge in next(iter(bins[name].values()))["upper"]] if "upper" not in bins[name] else bins[name]["upper"]
        shares = []
        for frame in (train, window):
            values = frame[name].to_numpy()
            # Below the least, in bins up to each edge, above the greatest.
            least = train[name].min()
            inside = values[(values >= least) & (values <= upper[-1])]
            counts = np.bincount(np.searchsorted(upper, inside, side="left"), minlength=len(upper))
            shares.append(np.r_[np.sum(values < least), counts, np.sum(values > upper[-1])] / len(values))
        assert column["scores"]["total_variation"] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2, rel=1e-9), found


def test_few_rows_are_not_judged(tmp_path, baseline):
    columns = payments(5, 50)
    columns["amount"] = columns["amount"] * 100
    window = write(tmp_path / "few.csv", columns)
    shown = run("drift", baseline, window, "--fail")
    assert shown.startswith("0 of 4 columns drifted") and "too few rows" in shown


def test_wrong_input_has_a_clear_error(tmp_path, baseline):
    def refused(*arguments):
        ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert ended.returncode != 0 and "panicked" not in ended.stderr, ended.stderr
        return ended.stderr

    window = write(tmp_path / "window.csv", payments(6, 200))
    assert "is not a baseline" in refused("drift", window, window)
    (tmp_path / "future.json").write_text(json.dumps({**json.loads(baseline.read_text()), "format": 2}))
    assert "has the format 2" in refused("drift", tmp_path / "future.json", window)
    assert "cannot read" in refused("drift", baseline, tmp_path / "absent.csv")
    assert 'no column "nothing"' in refused("baseline", window, "--skip", "nothing", "--output", tmp_path / "b.json")
    for name, text, problem in [
        ("empty", "", "no column of the baseline"),
        ("header", "amount,age\n", "no rows"),
        ("twice", "amount,amount\n1,2\n", 'the column "amount" twice'),
        ("ragged", "amount,age\n1,2\n3\n", "cannot read"),
        ("foreign", "other\n1\n", "no column of the baseline"),
    ]:
        file = tmp_path / f"{name}.csv"
        file.write_text(text)
        assert problem in refused("drift", baseline, file), name
    assert "must be above 0" in refused("drift", baseline, window, "--false-alarm-rate", "0")
    assert not (tmp_path / "b.json").exists()


def test_a_changed_baseline_is_refused_or_compared_without_a_panic(tmp_path, baseline):
    window = write(tmp_path / "window.csv", payments(7, 200))
    text = baseline.read_text()
    draw = np.random.default_rng(8)
    for _ in range(60):
        at, length = draw.integers(0, len(text)), draw.integers(0, 8)
        changed = tmp_path / "changed.json"
        changed.write_text(text[:at] + str(draw.integers(-9, 10**12)) + text[at + length :])
        ended = subprocess.run([BINARY, "drift", changed, window], capture_output=True, text=True, timeout=60)
        assert "panicked" not in ended.stderr, ended.stderr


def test_parquet_is_read_as_csv_is(tmp_path, baseline):
    columns = payments(2, 2000)
    csv_report, _ = compared(tmp_path, baseline, columns)
    table = pandas.DataFrame({name: list(values) for name, values in columns.items()})
    table.to_parquet(tmp_path / "window.parquet")
    report = json.loads(run("drift", baseline, tmp_path / "window.parquet", "--json"))
    assert {column["column"]: column["p_value"] for column in report["columns"]} == {
        name: column["p_value"] for name, column in csv_report.items()
    }
    made = tmp_path / "made.json"
    assert "4 columns of 2000 rows" in run("baseline", tmp_path / "window.parquet", "--output", made)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert "is not a Parquet file" in run("baseline", tmp_path / "broken.parquet", code=1)
