"""Scores tables with pyarrow and ONNX Runtime, as somebody writes it who knows both: the model `fraud`, with the steps of its
pipeline in NumPy. No validation, no resume.

    score.py MODEL.onnx INPUT_FOLDER OUTPUT_FOLDER [THREADS]

A process for each thread, one file after the other for each, only the columns that are needed, batches of 4,096 rows that become
one matrix, a session with one thread that does not spin.
"""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 4096
COLUMNS = (
    "amount hour day_of_week merchant_risk merchant_age_days merchant_category account_age_days card_age_days credit_limit "
    "utilization mean_amount_30d amount_to_mean amount_to_limit transactions_1h transactions_24h transactions_7d declined_24h "
    "minutes_since_last distance_home_km distance_last_km is_foreign is_online chip_present device_age_days device_new ip_risk "
    "email_age_days billing_matches_shipping failed_logins_24h chargebacks_1y"
).split()
MADE = {"amount_to_mean": "mean_amount_30d", "amount_to_limit": "credit_limit"}


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options)


def matrix(batch):
    rows = np.empty((batch.num_rows, len(COLUMNS)), np.float32)
    for at, name in enumerate(COLUMNS):
        if name in MADE:
            denominator = batch.column(MADE[name]).to_numpy(zero_copy_only=False)
            rows[:, at] = batch.column("amount").to_numpy(zero_copy_only=False) / denominator
        else:
            rows[:, at] = batch.column(name).to_numpy(zero_copy_only=False)
    return rows


def score(model, rows):
    (probabilities,) = model.run(["probabilities"], {"transaction": rows})
    scores = np.round(probabilities[:, 1].astype(np.float64), 4)
    decisions = np.where(scores > 0.5, "decline", np.where(scores > 0.1, "review", "approve"))
    unusual, foreign = rows[:, 11] > 3, (rows[:, 20] != 0) & (rows[:, 22] == 0)
    reasons = np.where(unusual, "unusual amount", np.where(foreign, "foreign, without a chip", "high risk"))
    return scores, decisions, pa.array(reasons, mask=scores <= 0.1)


def score_file(arguments):
    model, path, output = arguments
    model, writer, rows = session(model), None, 0
    file = pq.ParquetFile(path)
    for batch in file.iter_batches(BATCH_ROWS, columns=["id", *(c for c in COLUMNS if c not in MADE)], use_threads=False):
        scores, decisions, reasons = score(model, matrix(batch))
        table = pa.table({"id": batch.column("id"), "decision": decisions, "score": scores, "reason": reasons})
        writer = writer or pq.ParquetWriter(output, table.schema, compression="zstd", compression_level=1)
        writer.write_table(table)
        rows += batch.num_rows
    writer.close()
    return rows


def main(model, folder, output, threads=2):
    Path(output).mkdir(parents=True, exist_ok=True)
    jobs = [(model, str(path), f"{output}/{path.name}") for path in sorted(Path(folder).rglob("*.parquet"))]
    with multiprocessing.get_context("spawn").Pool(int(threads)) as pool:
        print(sum(pool.imap_unordered(score_file, jobs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
