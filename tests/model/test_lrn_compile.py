"""The kernels compiled to machine code for GPUs that need not be here: no register may spill to memory."""

import os
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="Triton is for Linux")

from triton.backends.compiler import GPUTarget  # noqa: E402 (needs the line above)
from triton.compiler import ASTSource  # noqa: E402

from imagefeed.model import lrn_triton  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing")


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("relu", ["before", "after"])
@pytest.mark.parametrize(
    "name", ["_forward_kernel", "_backward_kernel", "_forward_pool_kernel", "_backward_pool_kernel"]
)
@pytest.mark.parametrize("compute_capability", [80, 90, 100])
def test_keeps_its_tile_in_registers(
    compute_capability: int, name: str, relu: str, channels_last: bool, dtype: str, tmp_path: Path
) -> None:
    kernel = getattr(lrn_triton, name)
    constants = lrn_triton.constants(size=5, beta=0.75, relu=relu, channels_last=channels_last)
    types = dict.fromkeys(("C", "G", "P", "H", "W", "PH", "PW", "R"), "i32") | {"alpha": "fp32", "k": "fp32"}
    types |= {"place_ptr": "*u8"} | dict.fromkeys(constants, "constexpr")
    signature = {argument: types.get(argument, f"*{dtype}") for argument in kernel.arg_names}
    # As a launch finds it in AlexNet: pointers and channels are multiples of 16, pixels (55 * 55, 27 * 27) are not.
    aligned = [i for i, type_ in enumerate(signature.values()) if type_.startswith("*") or kernel.arg_names[i] in "CG"]
    source = ASTSource(kernel, signature, constants, {(i,): [["tt.divisibility", 16]] for i in aligned})
    target = GPUTarget("cuda", compute_capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": 4, "enable_fp_fusion": True})

    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    cuobjdump = triton.knobs.nvidia.cuobjdump.path
    usage = subprocess.run([cuobjdump, "--dump-resource-usage", cubin], capture_output=True, text=True, check=True)
    assert " STACK:0 " in usage.stdout, usage.stdout
    assert "shfl.sync" in compiled.asm["ptx"]  # the windows are summed between threads
