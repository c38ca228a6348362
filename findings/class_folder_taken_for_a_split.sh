#!/usr/bin/env bash
# datasets 5.2.0 (Hugging Face), "imagefolder": a class folder named bullet_train is taken for the training split.
#
# Where no split is named, `load_dataset("imagefolder", data_dir=...)` looks for the words train, training, val,
# valid, dev, test, eval and so on in every folder name below it, also as a part between "-", "_", "." or digits, and
# at any depth. ImageNet has the class "bullet train", and many sets have "test_tube" or "valid_id".
#
# Output seen, folders train/ and val/ with classes tabby and bullet_train, 2 images each:
#   train has 8 rows: 2 of train/tabby, 4 of train/bullet_train (each image twice), and the 2 of val/bullet_train.
# Output seen, no split folders, classes tabby, goldfish and bullet_train, 3 images each:
#   3 rows, all of bullet_train, and no label column; the other 6 images are gone.
# No error or warning in either case.
#
# Why it matters: it is the layout of ImageNet with readable class names. Validation images are trained on, some
# samples count twice, or most classes vanish, and the accuracy still looks plausible.
#
# Where: datasets/data_files.py, SPLIT_KEYWORDS, KEYWORDS_IN_DIR_NAME_BASE_PATTERNS, _get_data_files_patterns.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pillow==13.0.0
cat > "$work/probe.py" <<'PY'
import collections
import os
import pathlib
import sys

work = pathlib.Path(sys.argv[1])
os.environ.update(HF_HOME=str(work / "home"), HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")

import datasets
from PIL import Image

datasets.disable_progress_bars()


def folder(name, classes, images):
    for each in classes:
        (work / name / each).mkdir(parents=True)
        for i in range(images):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(work / name / each / f"{i}.png")
    return datasets.load_dataset("imagefolder", data_dir=str(work / name))


def origin(rows, name):
    return collections.Counter(str(pathlib.Path(row["image"].filename).parent.relative_to(work / name)) for row in rows)


split = folder("split", ["train/tabby", "train/bullet_train", "val/tabby", "val/bullet_train"], 2)
flat = folder("flat", ["tabby", "goldfish", "bullet_train"], 3)
train, alone = origin(split["train"], "split"), origin(flat["train"], "flat")

print("datasets", datasets.__version__)
print("expected: train has the 4 images below train/; the flat folder has 9 images, 3 a class, with labels")
print(f"happened: train has {len(split['train'])}: {dict(train)}")
print(f"          flat has {len(flat['train'])}: {dict(alone)}, columns {flat['train'].column_names}")
assert train == {"train/tabby": 2, "train/bullet_train": 4, "val/bullet_train": 2}, train
assert list(flat) == ["train"] and alone == {"bullet_train": 3}, alone
assert flat["train"].column_names == ["image"]
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
