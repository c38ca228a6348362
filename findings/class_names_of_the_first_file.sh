#!/usr/bin/env bash
# datasets 5.2.0 (Hugging Face), Parquet: class names come from the first file alone; other files' labels change
# meaning.
#
# `Dataset.to_parquet` stores the names of a ClassLabel in each file and the labels as integers.
# `load_dataset("parquet", data_files=[a, b])` takes names from the first file and copies integers of all. If b
# numbers its classes otherwise, the cast compares only the integer type, so nothing is noticed.
# `concatenate_datasets` of the same two files, read one by one, raises ValueError.
#
# Output seen: a.parquet says 0 = cat, b.parquet says 0 = dog. One row each, label 0. Read alone: cat, dog. Read
# together: cat, cat.
#
# Why it matters: shards written by several workers number classes by the order in which each saw them, or a set is
# extended by a later run with one class more. Training then gets wrong labels for whole files.
#
# Where: datasets/packaged_modules/parquet/parquet.py, _split_generators ("Infer features if they are stored in the
# arrow schema", then break), and _cast_table.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1
cat > "$work/probe.py" <<'PY'
import os
import pathlib
import sys

work = pathlib.Path(sys.argv[1])
os.environ.update(HF_HOME=str(work / "home"), HF_HUB_OFFLINE="1")

import datasets

datasets.disable_progress_bars()


def write(name, classes):
    features = datasets.Features({"label": datasets.ClassLabel(names=classes)})
    datasets.Dataset.from_dict({"label": [0]}, features=features).to_parquet(str(work / name))
    return str(work / name)


def names(files):
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    return [rows.features["label"].int2str(label) for label in rows["label"]]


a, b = write("a.parquet", ["cat", "dog"]), write("b.parquet", ["dog", "cat"])
alone, together = names([a]) + names([b]), names([a, b])

print("datasets", datasets.__version__)
print(f"expected: {alone} as when each file is read alone, or an error")
print(f"happened: {together}")
assert alone == ["cat", "dog"], alone
assert together == ["cat", "cat"], together
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
