"""How far mixing a few shards at a time is from a global shuffle, for an epoch of ImageNet's size.

    python -m benchmarks.shuffle_distance

1,281,167 samples of 1,000 classes in 313 shards of 4,096, batches of 256. "Shuffled" shards hold the classes mixed, as
`imagefeed convert` writes them; "sorted" ones hold them one after the other, as `--shuffle none` and many others do.
Printed: the shards and the classes that a batch has samples of, in the mean over 200 batches of the epoch.
"""

import numpy as np

from benchmarks.record import record
from imagefeed.pipeline.sampling.order import epoch_order, shard_order

SAMPLES, SHARD, CLASSES, BATCH = 1_281_167, 4096, 1000, 256


def distinct(values: np.ndarray) -> float:
    """Different values in a batch, in the mean over 200 batches."""
    starts = np.linspace(0, len(values) - BATCH, 200).astype(int)
    return float(np.mean([len(np.unique(values[start : start + BATCH])) for start in starts]))


def main() -> None:
    """Prints and records one line a window."""
    ids = np.arange(SAMPLES)
    labels = ids * CLASSES // SAMPLES
    places = {"sorted": ids // SHARD, "shuffled": np.random.default_rng(0).permutation(SAMPLES) // SHARD}
    for storage, shards in places.items():
        for window in (1, 4, 16, 64, None):
            if window is None:
                order = epoch_order(ids, seed=0, epoch=0, shuffle=True)
            else:
                order = shard_order(ids, shards, seed=0, epoch=0, num_shards=window)
            values = {"shards": distinct(shards[order]), "classes": distinct(labels[order])}
            name = f"{storage} {window or 'global'}"
            print(f"{name:16} {values['shards']:6.1f} shards {values['classes']:6.1f} classes")
            record("shuffle", name, values)


if __name__ == "__main__":
    main()
