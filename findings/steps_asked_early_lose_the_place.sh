#!/usr/bin/env bash
# Lightning 2.6.6: a module that asks `trainer.estimated_stepping_batches` in `configure_optimizers`, as warm-up and
# OneCycleLR need, loses the place of a stateful loader on a resume in the middle of an epoch.
#
# A loader with `state_dict` and `load_state_dict` is saved in the checkpoint either way, and handed its state on a
# resume: but the loops take it up when they set up their data, and the question sets it up before the loops have
# their state from the checkpoint. Then `load_state_dict` is not called, and nothing is said.
#
# Output seen, an epoch of 8 samples, stopped after 3: without the question the resume trains on samples 3 to 7; with
# it on 0 to 4, so that 0, 1 and 2 come twice and 5, 6 and 7 never, while steps and epochs count on as if all were well.
#
# Why it matters: a preempted job with a warm-up trains on the first part of an epoch again after each resume. A loader
# that would raise on a wrong state is never asked.
#
# Where: lightning/pytorch/loops/fit_loop.py, _FitLoop.setup_data and _load_combined_loader_states (`if not
# self.restarting ...`); lightning/pytorch/trainer/trainer.py, Trainer.estimated_stepping_batches.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check torch==2.13.0 lightning==2.6.6 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import logging
import sys
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Loader:
    """The numbers 0 to 7, which knows its place."""

    def __init__(self):
        self.place, self.loaded = 0, 0

    def __len__(self):
        return 8

    def __iter__(self):
        while self.place < 8:
            self.place += 1
            yield torch.tensor([self.place - 1])
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place, self.loaded = state["place"], self.loaded + 1


class Net(lightning.LightningModule):
    def __init__(self, asks):
        super().__init__()
        self.weight, self.asks, self.seen = torch.nn.Parameter(torch.zeros(1)), asks, []

    def training_step(self, batch, _):
        self.seen += batch.tolist()
        return self.weight.sum()

    def configure_optimizers(self):
        if self.asks:
            assert self.trainer.estimated_stepping_batches == 8
        return torch.optim.SGD(self.parameters(), 0.1)


def seen(asks, folder, **more):
    net, loader = Net(asks), Loader()
    kept = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[kept]
    )
    trainer.fit(net, loader, weights_only=False, **more)
    return net.seen, loader.loaded


found = {}
for asks in (False, True):
    folder = f"{sys.argv[1]}/{asks}"
    assert seen(asks, folder) == (list(range(8)), 0)
    found[asks] = seen(asks, folder, ckpt_path=f"{folder}/step=3.ckpt")

print("lightning", lightning.__version__)
print("expected: a run resumed after 3 of 8 samples trains on [3, 4, 5, 6, 7]")
for asks, (samples, loaded) in found.items():
    print(f"happened: estimated_stepping_batches asked: {asks}; {samples}, load_state_dict called {loaded} times")
assert found[False] == ([3, 4, 5, 6, 7], 1)
assert found[True] == ([0, 1, 2, 3, 4], 0)
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
