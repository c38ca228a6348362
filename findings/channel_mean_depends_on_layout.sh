#!/usr/bin/env bash
# NumPy 2.4.6: the mean of each channel of a float32 batch is far off channels-last and right channels-first.
#
# NumPy adds in pairs, which keeps the error small, only along the axis that is contiguous in memory. Channels-last,
# `batch.mean(axis=(0, 1, 2))` adds pixel after pixel into three float32 numbers. With pixels from 0 to 1, nothing is
# added any more once a sum has reached 2**24. `dtype=np.float64` cures it; uint8 pixels are added in integers.
#
# Output seen, 1,000 images of 224x224x3, pixels drawn evenly from 0 to 1 (needs 1.3 GB): channels-last 0.334
# (16777216 / 50176000) for each channel; the same numbers channels-first 0.500; channels-last in float64 0.500.
#
# Why it matters: this is how the means and deviations of an image set are computed, pixels from 0 to 1 and
# channels-last are how they come. The result is a plausible number, it depends on the number of images alone, and a
# test on a small set passes. No warning.
#
# Where: numpy/_core/src/umath/loops_utils.h.src (pairwise sum). The notes of numpy.sum say "along the fast axis in
# memory".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import numpy as np

SHAPE = (1000, 224, 224, 3)
images = np.empty(SHAPE, np.float32)
np.random.default_rng(0).random(dtype=np.float32, out=images)
last = images.mean(axis=(0, 1, 2))
wide = images.mean(axis=(0, 1, 2), dtype=np.float64)
first = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).mean(axis=(0, 2, 3))

print("NumPy", np.__version__)
print("expected: 0.500 for each channel, whatever the layout")
print(f"happened: channels-last {last.round(3)}, channels-first {first.round(3)}, in float64 {wide.round(3)}")
assert (abs(last - 2**24 / 50_176_000) < 0.0005).all(), last
assert (abs(first - 0.5) < 0.0005).all() and (abs(wide - 0.5) < 0.0005).all()
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
