#!/usr/bin/env bash
# torch 2.13.0: going through a validation DataLoader, which shuffles nothing, changes the order of the next epoch.
#
# Each `iter(DataLoader)` draws one number, the base seed of its workers, from the global generator: also with
# shuffle=False, also with num_workers=0, also if nothing random happens. A training loader with shuffle=True and no
# generator of its own takes its order from the same stream.
#
# Output seen, torch.manual_seed(0), 8 samples: epoch 0 the same, epoch 1 [0, 3, 7, 1, 6, 2, 5, 4] without and [6, 1,
# 3, 4, 7, 0, 5, 2] with a validation pass before it. With a generator for the validation loader: as without.
#
# Why it matters: validate every epoch or every second one, look at one batch for a picture, or count the samples of
# another loader, and training sees another order from then on. Two runs "with the same seed" differ by what was
# measured, and a resumed run that skips a validation does not continue the run it resumes.
#
# Where: torch/utils/data/dataloader.py, _BaseDataLoaderIter.__init__ (`self._base_seed = ...`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import torch
from torch.utils.data import DataLoader


def epochs(validate, **options):
    torch.manual_seed(0)
    training = DataLoader(range(8), batch_size=8, shuffle=True)
    validation = DataLoader(range(4), batch_size=4, shuffle=False, **options)
    orders = []
    for _ in range(2):
        orders += [batch.tolist() for batch in training]
        if validate:
            list(validation)
    return orders


without, with_it = epochs(validate=False), epochs(validate=True)
own = epochs(validate=True, generator=torch.Generator())

print("torch", torch.__version__.split("+")[0])
print(f"expected: epoch 1 is {without[1]} with or without a validation pass after epoch 0")
print(f"happened: with it, epoch 1 is {with_it[1]}; with a generator of its own {own[1]}")
assert with_it[0] == without[0] == own[0]
assert with_it[1] != without[1] and own[1] == without[1]
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
