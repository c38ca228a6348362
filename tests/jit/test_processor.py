"""The same bits from code for other processors: those without AVX-512, without AVX2, and none of x86's own words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagefeed.pipeline.jit import processor
from tests.support.vector_kernels import digests

NAMES = {"AVX2": ("haswell", "+avx2,+bmi2,+f16c,+fma"), "SSE2": ("x86-64", "+sse2")}


@pytest.fixture(scope="module")
def here() -> dict[str, int]:
    """Of this processor."""
    return digests()


@pytest.mark.skipif(not processor.is_x86(), reason="these are processors of the x86 kind")
@pytest.mark.parametrize("name", NAMES)
def test_kernels_compiled_for_an_older_processor_give_the_same(name: str, here: dict[str, int], tmp_path: Path) -> None:
    cpu, features = NAMES[name]
    has = processor.features()
    if any(not has[feature] for feature in features.replace("+", "").split(",")):
        pytest.skip(f"this processor does not run code for {name}")
    of_cpu = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "IMAGEFEED_HOME": str(tmp_path)}
    program = "from tests.support import vector_kernels as v; from imagefeed.pipeline.jit import processor as p; "
    program += "import json; print(json.dumps([p.vector_bits(), v.digests()]))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | of_cpu, capture_output=True, text=True, check=True
    )
    bits, found = json.loads(done.stdout.splitlines()[-1])
    assert bits == (256 if name == "AVX2" else 128)
    assert found == here


def test_kernels_without_any_words_of_x86_give_the_same(here: dict[str, int]) -> None:
    program = "from imagefeed.pipeline.jit import simd; simd.vector_bits = lambda: 0; "
    program += "from tests.support import vector_kernels as v; import json; print(json.dumps(v.digests()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == here


def test_features_are_those_that_are_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    for features, bits, halves in (
        ("+avx2,+f16c", 256, True),
        ("+avx512bw,+avx2,+f16c", 512, True),
        ("-avx512bw,-avx2,-f16c", 128, False),
        ("", 128, False),
    ):
        monkeypatch.setattr(processor.config, "CPU_FEATURES", features)
        assert (processor.vector_bits(), processor.rounds_to_float16()) == (bits, halves)
    monkeypatch.setattr(processor, "is_x86", lambda: False)
    assert (processor.vector_bits(), processor.rounds_to_float16()) == (0, True)
