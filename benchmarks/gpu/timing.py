"""Milliseconds of a piece of work, on a GPU or, so that the scripts here cannot rot, of a toy on a CPU."""

import time
from collections.abc import Callable

import torch


def milliseconds(work: Callable[[], object], *, toy: bool) -> tuple[float, float, float]:
    """20th percentile, median and 80th percentile, the L2 cache cleared before each measurement; a toy is
    measured once."""
    if toy:
        started = time.perf_counter()
        work()
        once = 1e3 * (time.perf_counter() - started)
        return once, once, once
    from triton.testing import do_bench

    p20, median, p80 = do_bench(work, quantiles=[0.2, 0.5, 0.8])
    return p20, median, p80


def hardware(toy: bool) -> str:
    """The GPU's name. Raises RuntimeError where there is none and no toy was asked for."""
    if not toy and not torch.cuda.is_available():
        raise RuntimeError(f"this measures on a CUDA GPU, and torch {torch.__version__} sees none; --toy runs a toy")
    return "toy on a CPU" if toy else torch.cuda.get_device_name()
