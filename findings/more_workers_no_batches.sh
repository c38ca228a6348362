#!/usr/bin/env bash
# grain 0.2.18: with more workers an epoch gets shorter, down to no batch at all, because each worker drops its own
# rest.
#
# `grain.DataLoader(operations=[Batch(32, drop_remainder=True)], worker_count=n)` deals the samples to n workers
# first, and each worker makes batches of its own samples. What is left over in each is dropped, up to 31 samples a
# worker, not 31 in all. `ds.batch(32, drop_remainder=True).mp_prefetch(n workers)` does the same. Other values of
# worker_count also change which samples share a batch.
#
# Output seen, 100 samples: 0 workers 3 batches, 1 worker 3, 2 workers 2, 4 workers 0. The loop over 4 workers ends at
# once, without an error or a warning.
#
# Why it matters: the number of workers is tuned for speed and taken to be without effect on the data. With 16 workers
# and batches of 256, up to 4,080 samples are not seen in an epoch; a validation set of 50 samples a worker yields
# nothing, and metrics over no batch are NaN or keep the values of the epoch before.
#
# Where: grain/_src/python/data_loader.py (each worker runs all operations); batch.py and process_prefetch.py in
# grain/_src/python/dataset/transformations.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check grain==0.2.18 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import importlib.metadata
import logging

logging.disable(logging.WARNING)

import grain


def batches(workers):
    loader = grain.DataLoader(
        data_source=list(range(100)),
        sampler=grain.samplers.IndexSampler(100, shuffle=False, num_epochs=1, seed=0),
        operations=[grain.transforms.Batch(32, drop_remainder=True)],
        worker_count=workers,
    )
    return len(list(loader))


if __name__ == "__main__":
    seen = {workers: batches(workers) for workers in (0, 1, 2, 4)}
    print("grain", importlib.metadata.version("grain"))
    print("expected: 100 samples in batches of 32 are 3 batches, for any number of workers")
    print("happened:", ", ".join(f"{workers} workers {count}" for workers, count in seen.items()))
    assert seen == {0: 3, 1: 3, 2: 2, 4: 0}, seen
PY
"$work/venv/bin/python" "$work/probe.py" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
