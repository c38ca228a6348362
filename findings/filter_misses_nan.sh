#!/usr/bin/env bash
# pyarrow 26.0.1: a Parquet filter for NaN, or for "not 1.0", finds nothing in a row group of 1.0 and NaN.
#
# Parquet's statistics leave NaN out: the values [1.0, NaN, 1.0] have minimum 1.0 and maximum 1.0. The reader takes
# minimum == maximum as "every value is 1.0" and skips the row group for filters that 1.0 fails. The same table
# filtered in memory gives the row. Whether a NaN is found depends on what else is in its row group: beside 1.0 and
# 2.0 is_nan works, but ~(score <= 10) still misses it.
#
# Output seen, rows from file / rows in memory:
#   [1.0, NaN, 1.0]: is_nan 0 / 1, score != 1.0 0 / 1, ~(score <= 10) 0 / 1
#   [1.0, 2.0, NaN]: is_nan 1 / 1, score != 1.0 2 / 2, ~(score <= 10) 0 / 1
#
# Why it matters: tables of samples carry a score, a loss or a mean for each image, and the search for the broken ones
# (NaN) or the clean-up by a threshold runs as a filter on read. It reports that all is well, or keeps or drops other
# rows after the file was rewritten with another row group size.
#
# Where: Arrow C++, cpp/src/arrow/dataset/file_parquet.cc, ParquetFileFragment::EvaluateStatisticsAsExpression.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

score = pc.field("score")
filters = {"is_nan": pc.is_nan(score), "score != 1.0": score != 1.0, "~(score <= 10)": ~(score <= 10)}
nan = float("nan")


def rows(values):
    table = pa.table({"score": values})
    path = sys.argv[1] + "/scores.parquet"
    pq.write_table(table, path)
    return [(pq.read_table(path, filters=each).num_rows, table.filter(each).num_rows) for each in filters.values()]


seen = {"[1.0, NaN, 1.0]": rows([1.0, nan, 1.0]), "[1.0, 2.0, NaN]": rows([1.0, 2.0, nan])}
print("pyarrow", pa.__version__)
print("expected: as many rows from the file as from the table in memory")
for values, counts in seen.items():
    text = ", ".join(f"{name} {file} / {memory}" for name, (file, memory) in zip(filters, counts, strict=True))
    print(f"happened: {values}: file / memory: {text}")
assert seen["[1.0, NaN, 1.0]"] == [(0, 1), (0, 1), (0, 1)]
assert seen["[1.0, 2.0, NaN]"] == [(1, 1), (2, 2), (0, 1)]
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
