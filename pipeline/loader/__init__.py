"""Batches of a split, on the host and on the device.

    options --> loader --> batches (BatchPlanner: an epoch's entries become tasks) --> runtime.crew (threads)
                  |                                                                         |
              prefetch (shards from elsewhere)      kernel.fused (a task's samples, one after the other)
                                                                                            |
    caller <-- device, device_normalize (where wanted) <-- Batch <-- buffers (memory, used again)

`dataset` opens a split with its loader, `normalization` gives mean, scale and colour, `augmenter` is the kernel alone.
"""
