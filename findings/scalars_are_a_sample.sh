#!/usr/bin/env bash
# tensorboard 2.21.0: EventAccumulator returns a random sample of a long curve, and says nothing.
#
# `EventAccumulator(folder)` is the usual way to read a run back in Python. Its default keeps 10,000 scalars a tag
# (and 4 images, 10 tensors, 1 histogram): past that, a new point takes the place of a random older one.
# `Scalars(tag)` returns the survivors in order, so the list looks like a whole curve. Only size_guidance={"scalars":
# 0} returns all.
#
# Output seen: 13,000 points written, 10,000 read, first steps not all there (0, 2, 3); the single lowest loss, at
# step 1, is among the 3,000 that are missing; with 0 as limit: 13,000.
#
# Why it matters: a report reads the loss or the waiting time of each step. 10,000 steps are one epoch of ImageNet at
# batch 128. Minimum, sum, integral and "first step at which" are then those of a sample, on short test runs of the
# whole.
#
# Where: tensorboard/backend/event_processing/event_accumulator.py, DEFAULT_SIZE_GUIDANCE; reservoir.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check tensorboard==2.21.0 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import logging
import sys

from tensorboard import version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

logging.disable(logging.WARNING)
LOWEST = 1
folder = sys.argv[1] + "/run"
writer = EventFileWriter(folder)
for step in range(13_000):
    value = Summary.Value(tag="loss", simple_value=0.5 if step == LOWEST else 2.0)
    writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=[value])))
writer.close()


def curve(**options):
    events = EventAccumulator(folder, **options)
    events.Reload()
    return events.Scalars("loss")


kept, whole = curve(), curve(size_guidance={"scalars": 0})
print("tensorboard", version.VERSION)
print("expected: 13000 points, lowest loss 0.5")
print(f"happened: {len(kept)} points, lowest loss {min(point.value for point in kept)},"
      f" first steps {[point.step for point in kept[:3]]}")
print(f"          with size_guidance 0: {len(whole)} points, lowest loss {min(point.value for point in whole)}")
assert len(kept) == 10_000 and len(whole) == 13_000
assert min(point.value for point in kept) == 2.0 and min(point.value for point in whole) == 0.5
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
