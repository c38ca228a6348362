"""Cycles of the decoder's, the encoder's and the resampler's vectors on processors that are not here.

    python -m benchmarks.kernel_cycles

Each kernel is compiled for each processor and given to llvm-mca (Debian: `apt install llvm-19`), which schedules the
instructions as that processor's model says: caches, branches and what stands around the kernel are not in it.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import tyro
from numba import types

from benchmarks.record import record
from imagefeed.pipeline.image.jpeg.fdct import forward_dct_pair, split_halved
from imagefeed.pipeline.image.jpeg.idct import colour_halved, inverse_dct_pair
from imagefeed.pipeline.image.resample_simd import weigh_pixels, weigh_rows
from imagefeed.pipeline.jit import simd
from imagefeed.pipeline.jit.parts import any_njit

KERNELS = {
    "inverse DCT, 2 blocks": inverse_dct_pair,
    "colour, 32 pixels of 4:2:0": colour_halved,
    "forward DCT, 2 blocks": forward_dct_pair,
    "samples, 64 pixels to 4:2:0": split_halved,
    "rows of 32 bytes, 4 taps": weigh_rows,  # a pair before the loop and one in it
    "8 pixels, 8 taps": weigh_pixels,  # the same of four taps each
}
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
PROCESSORS = {"znver4": X86, "sapphirerapids": X86, "skylake": X86, "haswell": X86, "neoverse-v2": ARM}
REPEATS = 100


@dataclass(frozen=True, kw_only=True)
class CyclesConfig:
    """What to count with."""

    mca: str = "llvm-mca-19"
    """The program."""


def caller(kernel: Any) -> Callable[..., Any]:
    """A function of as many addresses as `kernel` takes, which calls it."""
    count = kernel._defn.__code__.co_argcount - 1
    callers: dict[int, Callable[..., Any]] = {
        5: lambda a, b, c, d, e: kernel(a, b, c, d, e),
        6: lambda a, b, c, d, e, f: kernel(a, b, c, d, e, f),
        7: lambda a, b, c, d, e, f, g: kernel(a, b, c, d, e, f, g),
    }
    return callers[count]


def assembly(kernel: Any, processor: str) -> str:
    """The instructions of a kernel as they are compiled for a processor."""
    triple = PROCESSORS[processor]
    simd.vector_bits = lambda: 256 if triple == X86 else 0  # type: ignore[attr-defined]
    function = caller(kernel)
    compiled = any_njit(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    compiled.compile((types.int64,) * function.__code__.co_argcount)
    (text,) = compiled.inspect_llvm().values()
    module = llvm.parse_assembly(re.sub(r'target triple = ".*"', f'target triple = "{triple}"', text))
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    name = next(iter(compiled.overloads.values())).fndesc.mangled_name
    lines = machine.emit_assembly(module).partition(f"\n{name}:")[2].partition(".Lfunc_end")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith("\t") and not line.startswith("\t."))


def cycles(text: str, processor: str, program: str) -> float:
    """Of one run of the instructions, repeated, without their jumps."""
    done = subprocess.run(
        [program, f"-mtriple={PROCESSORS[processor]}", f"-mcpu={processor}", f"-iterations={REPEATS}"],
        input=text,
        text=True,
        capture_output=True,
        check=True,
    )
    return int(re.search(r"Total Cycles: +(\d+)", done.stdout)[1]) / REPEATS  # type: ignore[index]


def main(config: CyclesConfig) -> None:
    """Prints the table and records its rows."""
    for start in ("initialize_all_targets", "initialize_all_asmprinters"):
        getattr(llvm, start)()
    print(f"{'':30}" + "".join(f"{name:>16}" for name in PROCESSORS))
    for title, kernel in KERNELS.items():
        found = {name: cycles(assembly(kernel, name), name, config.mca) for name in PROCESSORS}
        print(f"{title:30}" + "".join(f"{count:16.0f}" for count in found.values()), flush=True)
        record("kernel_cycles", title, {"cycles": list(found.values()), "processors": list(found)})


if __name__ == "__main__":
    main(tyro.cli(CyclesConfig, description=__doc__))
