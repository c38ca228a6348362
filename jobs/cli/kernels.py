"""The subcommand of `imagefeed` that compiles ahead of time."""

import io
import os
import tarfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from imagefeed.jobs.cli.app import app
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.jit.code_cache import folder
from imagefeed.pipeline.jit.turns import announced
from imagefeed.pipeline.runtime.executors import processes
from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample


@app.command(name="compile")
def compile_command() -> None:
    """Compile for this processor what conversion and loading run, which their first use does otherwise.

    For images of containers, for nodes of a cluster, and for those who do not like to wait later. Compiled code lies in
    the user's cache, where every copy of this version finds it.
    """
    with announced("compiling for this machine what conversion and loading run, which happens once", "compiled it"):
        for _ in processes(2)(in_scratch_folder, [use_conversion, use_loader]):
            pass
    print(f"compiled code of this version lies in {folder()}")


def in_scratch_folder(use: Callable[[Path], None]) -> None:
    """Calls `use` with a folder that is gone afterwards; what it says is of no interest."""
    folder()  # which may depend on the variable
    with TemporaryDirectory() as name, redirect_stderr(io.StringIO()):
        os.environ["IMAGEFEED_HOME"] = name  # of this process, for indexes
        use(Path(name))


def use_conversion(scratch: Path) -> None:
    """Converts a few images in the layout of the ILSVRC2012 downloads to both formats."""
    make_sample(scratch / "source", SampleConfig(num_classes=2, train_images_per_class=4, val_images_per_class=1))
    convert(scratch / "source", scratch / "out", ConvertOptions(format="both"))


def use_loader(scratch: Path) -> None:
    """Loads a batch from a tar of an image."""
    from imagefeed.pipeline.loader.dataset import open_dataset  # imports torch, which takes seconds

    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG")
    with tarfile.open(scratch / "shard.tar", "w") as tar:
        for name, data in (("0.jpg", stream.getvalue()), ("0.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    next(iter(open_dataset(scratch / "shard.tar").loader(batch_size=1, crop_size=32, dtype="uint8", num_threads=1)))
