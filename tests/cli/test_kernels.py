"""What `imagefeed compile` has compiled, nobody compiles again."""

import json
import subprocess
import sys
from pathlib import Path

USES = """
import json, sys
from numba.core import event

class Compilations(event.Listener):
    def on_start(self, event):
        names.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event):
        pass

names = []
event.register("numba:compile", Compilations())
from imagefeed import ConvertOptions, convert, open_dataset
source, out = sys.argv[1:]
convert(source, out, ConvertOptions(format="both"))
for recipe, dtype, layout in ("alexnet", "float32", "NCHW"), ("resnet", "float16", "NHWC"), ("eval", "uint8", "NHWC"):
    loader = open_dataset(out + "/beton/train").loader(recipe=recipe, dtype=dtype, layout=layout, batch_size=4)
    assert len(next(iter(loader)).labels) == 4
print(json.dumps(names))
"""


def run(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_after_it_nothing_is_compiled(images: Path, tmp_path: Path) -> None:
    said = run("-m", "imagefeed", "compile")
    folder = Path(said.removeprefix("compiled code of this version lies in ").rstrip("\n"))
    assert any(folder.rglob("*.nbc"))
    assert json.loads(run("-c", USES, images, tmp_path / "out")) == []


def test_the_command_line_is_there_before_torch() -> None:
    assert run("-c", "import sys, imagefeed.jobs.cli.main; print('torch' in sys.modules)") == "False\n"
