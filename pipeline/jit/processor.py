"""The processor that code is compiled for: this one, unless NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name another."""

import platform
from typing import Any

import llvmlite.binding as llvm
import numba

config: Any = numba.config  # its annotations do not know what it reads from the environment


def features() -> dict[str, bool]:
    """What LLVM calls the processor's features, and whether it has them; one that nobody speaks of is missing."""
    if config.CPU_FEATURES is None:
        return dict(llvm.get_host_cpu_features())
    return {name[1:]: name[0] == "+" for name in config.CPU_FEATURES.split(",") if name}


def is_x86() -> bool:
    """Whether it is a 64-bit x86."""
    return platform.machine() in ("x86_64", "AMD64")


def vector_bits() -> int:
    """How many bits x86's instructions on 16-bit lanes take at once; 0 on another processor."""
    if not is_x86():
        return 0
    has = features()
    return 512 if has.get("avx512bw") else 256 if has.get("avx2") else 128


def rounds_to_float16() -> bool:
    """Whether it rounds to float16 by itself: every one since 2013. LLVM aborts the process otherwise."""
    return not is_x86() or features().get("f16c", False)
