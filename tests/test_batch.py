"""Batch scoring: the scores of the endpoint, over tables, exactly once, whatever is killed."""

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S
from parts import until
from test_docs import Shell, ROOT

FRAUD = MODELS / "fraud"
GUIDE = ROOT / "docs/guides/batch.md"


def transactions(rows, first=0):
    """Transactions with an id, by the fields of the pipeline of `fraud`."""
    random_numbers = np.random.default_rng(first + 1)
    columns = {"id": np.arange(first, first + rows)}
    for field in tomllib.loads((FRAUD / "model.toml").read_text())["pipeline"]["fields"]:
        low, high = field.get("min", 0), field.get("max", 1000)
        if field["type"] == "boolean":
            columns[field["name"]] = random_numbers.random(rows) < 0.5
        elif field["type"] == "integer":
            columns[field["name"]] = random_numbers.integers(low, high, rows, endpoint=True)
        else:
            columns[field["name"]] = random_numbers.uniform(max(low, 0.01), high, rows)
    return pa.table(columns)


def write(table, path, row_group_size=1000):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)


def output_files(folder):
    """What a job has made, by its name: the digest of each file."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manifest(folder):
    return json.loads((folder / "_tidegate/manifest.json").read_text())


def scores(folder):
    """The rows that the manifest vouches for, in its order."""
    files = [unit["scores"]["path"] for unit in manifest(folder)["units"] if unit["scores"]]
    return pa.concat_tables([pq.ParquetFile(folder / file).read() for file in files])


def quarantine(folder):
    files = [unit["quarantine"]["path"] for unit in manifest(folder)["units"] if unit["quarantine"]]
    return pa.concat_tables([pq.read_table(folder / file) for file in files])


@pytest.fixture
def batch(registry, tmp_path):
    """Runs `tidegate batch run` with the example model of fraud."""

    def batch(input, output, *flags, model=FRAUD, **options):
        arguments = ["--model", model, "--input", tmp_path / input, "--output", tmp_path / output]
        return registry.run("batch", "run", *arguments, *flags, **options)

    return batch


def test_scores_equal_those_of_the_endpoint_bit_by_bit(registry, batch, start, tmp_path):
    registry.run("push", FRAUD, "--alias", "champion")
    table = transactions(5000)
    write(table, tmp_path / "tx/a.parquet")
    batch("tx", "scores", "--keep", "id", "--unit-rows", "2000", model="fraud@champion")
    found = scores(tmp_path / "scores").to_pylist()
    assert [row["id"] for row in found] == list(range(5000))
    digest = registry.versions()[0]["digest"]
    assert {(row["_version"], row["_digest"]) for row in found} == {("fraud:1", digest)}

    server = start(data=registry.data)
    rows = table.drop_columns(["id"]).to_pylist()
    for first in range(0, len(rows), 1000):
        body = json.dumps({"instances": rows[first : first + 1000]})
        answer = requests.post(server.url("/v1/endpoints/fraud/predict"), data=body, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        wanted = answer.json()["predictions"]
        batched = [{key: row[key] for key in wanted[0]} for row in found[first : first + 1000]]
        assert batched == wanted


def test_a_job_that_is_killed_goes_on_to_the_same_bytes(registry, batch, tmp_path):
    for day in range(3):
        write(transactions(4000, first=4000 * day), tmp_path / f"tx/dt=2026-11-0{day + 1}/part.parquet")
    flags = ["--keep", "id", "--unit-rows", "1000"]
    batch("tx", "undisturbed", *flags)
    wanted = output_files(tmp_path / "undisturbed")
    assert len(manifest(tmp_path / "undisturbed")["units"]) == 12

    output, chance = tmp_path / "scores", random.Random(20)
    units, kills = output / "_tidegate/units", 0

    def done():
        return len(list(units.glob("*.json"))) if units.exists() else 0

    command = [BINARY, "batch", "run", "--model", FRAUD, "--input", tmp_path / "tx", "--output", output]
    command += [*flags, "--data", registry.data]
    while done() < 12 and kills < 8:
        before = done()
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        spin = chance.randrange(2000)
        until(lambda: done() > before or process.poll() is not None)
        for _ in range(spin):
            os.getpid()
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills > 0
    outcome = json.loads(registry.out("batch", "resume", output, "--json"))
    assert (outcome["rows"], outcome["scored_rows"], outcome["units"]) == (12000, 12000, 12)
    assert output_files(output) == wanted
    ids = scores(output)["id"].to_pylist()
    assert ids == list(range(12000))


def test_threads_do_not_change_the_output(batch, tmp_path):
    write(transactions(5003), tmp_path / "tx/a.parquet", row_group_size=777)
    outputs = []
    for threads in [1, 2, 5]:
        batch("tx", f"scores-{threads}", "--unit-rows", "700", "--threads", threads)
        outputs.append(output_files(tmp_path / f"scores-{threads}"))
    assert outputs[0] == outputs[1] == outputs[2]


def test_every_format_gets_the_same_scores(batch, tmp_path):
    table = transactions(2000)
    write(table, tmp_path / "tx/a.parquet")
    pa.csv.write_csv(table, tmp_path / "a.csv")
    pa.feather.write_feather(table, tmp_path / "a.arrow", compression="lz4", chunksize=700)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    found = []
    for number, input in enumerate(["tx", "a.csv", "a.jsonl", "a.arrow"]):
        output = f"scores-{number}"
        batch(input, output, "--keep", "id", "--unit-rows", "500")
        read = scores(tmp_path / output)
        # Formats without types keep texts.
        found.append(read.set_column(0, "id", read["id"].cast(pa.int64())).to_pylist())
        assert len(manifest(tmp_path / output)["units"]) >= 2
    assert found[0] == found[1] == found[2] == found[3]


def test_partitions_are_kept_in_the_layout_and_readable_as_a_data_set(batch, tmp_path):
    for day, rows in [("01", 300), ("02", 200)]:
        write(transactions(rows), tmp_path / f"tx/dt=2026-11-{day}/country=DE/part.parquet")
    (tmp_path / "tx/_SUCCESS").touch()
    batch("tx/dt=*/*/*.parquet", "scores")
    read = pq.read_table(tmp_path / "scores", partitioning="hive")
    counts = read.group_by("dt").aggregate([("score", "count")]).to_pydict()
    assert dict(zip(map(str, counts["dt"]), counts["score_count"])) == {"2026-11-01": 300, "2026-11-02": 200}


def test_bad_rows_are_in_quarantine_and_stop_a_strict_job(batch, tmp_path):
    table = transactions(1000)
    amounts = table["amount"].to_pylist()
    amounts[7], amounts[500], amounts[999] = None, -3.5, float("inf")
    table = table.set_column(table.schema.get_field_index("amount"), "amount", pa.array(amounts, pa.float64()))
    write(table, tmp_path / "tx/a.parquet")
    outcome = json.loads(batch("tx", "scores", "--json").stdout)
    assert (outcome["rows"], outcome["scored_rows"], outcome["quarantined_rows"]) == (1000, 997, 3)
    bad = quarantine(tmp_path / "scores").to_pylist()
    assert [row["_row"] for row in bad] == [7, 500, 999]
    assert {row["_file"] for row in bad} == {str(tmp_path / "tx/a.parquet")}
    assert "is missing" in bad[0]["_reason"] and "is -3.5" in bad[1]["_reason"], bad
    refused = batch("tx", "strict", "--max-errors", "2", check=False)
    assert refused.returncode == 1
    assert "3 rows cannot be scored, at most 2 may be (--max-errors)" in refused.stderr
    assert not (tmp_path / "strict/_tidegate/manifest.json").exists()


def test_a_write_that_fails_keeps_what_was_finished(registry, batch, tmp_path):
    small = transactions(1000)
    large = transactions(60000)
    write(small, tmp_path / "tx/a.parquet")
    write(large, tmp_path / "tx/b.parquet", row_group_size=60000)

    def limit_files():
        # Without the signal, a write beyond the limit fails like one to a disk that is full.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    command = [BINARY, "batch", "run", "--model", FRAUD, "--input", tmp_path / "tx", "--output", tmp_path / "scores"]
    command += ["--keep", "all", "--threads", "1", "--unit-rows", "1000", "--data", registry.data]
    registry.out("batch", "list")
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, preexec_fn=limit_files)
    assert ended.returncode == 1 and "cannot be written" in ended.stderr, ended.stderr
    shown = json.loads(registry.out("batch", "show", tmp_path / "scores", "--json"))
    assert (shown["state"], shown["units_done"]) == ("incomplete", 1)
    outcome = json.loads(registry.out("batch", "resume", tmp_path / "scores", "--json"))
    assert (outcome["units_run"], outcome["scored_rows"]) == (1, 61000)


def test_hostile_files_are_refused_by_name_and_place(batch, tmp_path):
    table = transactions(4000)
    path = tmp_path / "tx/a.parquet"
    write(table, path)
    whole = path.read_bytes()

    def refusal(content, *flags):
        path.write_bytes(content)
        output = f"scores-{hashlib.sha256(content).hexdigest()[:8]}"
        ended = batch("tx", output, "--unit-rows", "1000", *flags, check=False)
        assert ended.returncode == 1, ended.stdout
        assert str(path) in ended.stderr, ended.stderr
        return ended.stderr

    assert "is truncated or no Parquet file" in refusal(whole[:-1])
    assert "is no Parquet file: it has 5 bytes" in refusal(b"PAR1\n")
    assert "its footer says that it has 4294967295 bytes" in refusal(whole[:-8] + b"\xff" * 4 + b"PAR1")
    assert "its footer cannot be read" in refusal(whole[:-1000] + b"\xff" * 900 + whole[-100:])
    # The pages of the third row group are lost, the footer is whole.
    third = pq.ParquetFile(path_of(whole, tmp_path)).metadata.row_group(2).column(1)
    begin = third.dictionary_page_offset or third.data_page_offset
    error = refusal(whole[:begin] + b"\xff" * 3000 + whole[begin + 3000 :], "--threads", "1")
    assert "row group 2 cannot be read" in error, error


def path_of(content, folder):
    path = folder / "whole.parquet"
    path.write_bytes(content)
    return path


def test_files_that_do_not_go_together_are_refused(batch, tmp_path):
    table = transactions(100)
    write(table, tmp_path / "tx/a.parquet")

    def refusal(other, *flags):
        write(other, tmp_path / "tx/b.parquet")
        return batch("tx", "scores", *flags, check=False).stderr

    assert 'b.parquet: has no column "hour"' in refusal(table.drop_columns(["hour"]))
    texts = table.set_column(2, "hour", pa.array(["x"] * 100))
    assert 'b.parquet: column "hour" is Utf8, the field is of type integer' in refusal(texts)
    ids = table.set_column(0, "id", pa.array(["x"] * 100))
    assert 'column "id", which is kept, is Utf8, and Int64 in' in refusal(ids, "--keep", "id")
    assert "two columns" in batch("tx/a.parquet", "scores", "--keep", "id,id", check=False).stderr
    assert not (tmp_path / "scores").exists()


def test_a_changed_input_or_another_version_is_another_job(batch, registry, tmp_path):
    write(transactions(100), tmp_path / "tx/a.parquet")
    registry.run("push", FRAUD, "--alias", "champion")
    batch("tx", "scores", model="fraud@champion")
    write(transactions(100), tmp_path / "tx/b.parquet")
    assert "files were added" in batch("tx", "scores", model="fraud@champion", check=False).stderr
    (tmp_path / "tx/b.parquet").unlink()
    registry.run("push", FRAUD, "--alias", "champion", "--commit", "abc")
    error = batch("tx", "scores", model="fraud@champion", check=False).stderr
    assert "holds another job: the version was fraud:1" in error, error
    # A resume takes the version that the job began with.
    resumed = json.loads(registry.out("batch", "resume", tmp_path / "scores", "--json"))
    assert (resumed["version"], resumed["units_run"]) == ("fraud:1", 0)


def test_tensors_are_bound_by_name(batch, graph, tmp_path):
    # `matmul` multiplies rows of four numbers by a constant matrix.
    declared = "".join(f'{{ name = "{name}" }}, ' for name in "abcd")
    model = graph("matmul", manifest=f"[[signature.inputs]]\nname = \"x\"\ncolumns = [{declared}]\n")
    numbers = np.random.default_rng(3).normal(size=(500, 4)).astype(np.float32)
    table = pa.table({"d": numbers[:, 3], "key": np.arange(500), **{"abc"[at]: numbers[:, at] for at in range(3)}})
    write(table, tmp_path / "named.parquet")
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 4)})
    write(lists, tmp_path / "lists.parquet")
    for name in ["named", "lists"]:
        batch(f"{name}.parquet", name, model=model)
    named, lists = (scores(tmp_path / name).to_pylist() for name in ["named", "lists"])
    assert named == lists and len(named) == 500
    explained = batch("named.parquet", "none", "--explain", model=model).stdout
    assert "columns a, b, c, d" in explained, explained
    missing = batch("lists.parquet", "none", "--columns", "a,b,c,d", model=model, check=False).stderr
    assert 'has no column "a", which --columns names' in missing, missing


def test_the_plan_is_shown_and_jobs_are_listed(batch, registry, tmp_path):
    write(transactions(3000), tmp_path / "tx/a.parquet")
    shown = batch("tx", "scores", "--explain").stdout
    assert "input     3000 rows in 1 file, 1 unit" in shown, shown
    assert "amount number" in shown and "column amount (Float64)" in shown, shown
    assert not (tmp_path / "scores").exists()
    outcome = json.loads(batch("tx", "scores", "--json").stdout)
    listed = json.loads(registry.out("batch", "list", "--json"))
    assert [(job["job"], job["state"]) for job in listed] == [(outcome["job"], "complete")]
    assert "state       complete" in registry.out("batch", "show", outcome["job"])


def test_the_guide_is_what_happens(tmp_path):
    shell = Shell(tmp_path)
    (shell.work / "examples").symlink_to(ROOT / "examples")
    write(transactions(2000), shell.work / "data/dt=2026-11-01/part-0.parquet")
    write(transactions(1000, first=2000), shell.work / "data/dt=2026-11-02/part-0.parquet")
    assert shell.type_all(GUIDE) >= 6
    shell.stop()
