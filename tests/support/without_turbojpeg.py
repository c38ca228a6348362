"""A process in which libturbojpeg is not found, as on a machine without it; or, for comparison, one in which it is.

    python -m tests.support.without_turbojpeg hidden|found IMAGES OUT

Converts the folder IMAGES three ways, reads every image through loaders, and prints a digest of each result.
"""

import ctypes.util
import hashlib
import json
import sys
from pathlib import Path


def hide() -> None:
    """The search for libraries finds nothing, in the system and in the environment alike."""
    ctypes.util.find_library = lambda name: None
    sys.prefix = "/nowhere"


def digest_of(folder: Path) -> str:
    """SHA-256 of all files below a folder, with their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main(how: str, images: Path, out: Path) -> None:
    """Everything, in this process."""
    if how == "hidden":
        hide()
    from imagefeed import open_dataset
    from imagefeed.pipeline.checks.verify import verify
    from imagefeed.pipeline.convert.convert import convert
    from imagefeed.pipeline.convert.options import ConvertOptions
    from imagefeed.pipeline.image.turbojpeg import FOUND
    from imagefeed.pipeline.kernel.fused import fill

    found: dict[str, object] = {"found": FOUND}
    options = {
        "paper": ConvertOptions(format="both"),
        "long": ConvertOptions(resize="long:64", quality=80),
        "none": ConvertOptions(resize="none", statistics=True),
        "headers": ConvertOptions(resize="none"),
    }
    for name, option in options.items():
        convert(images, out / name, option)
        found[name] = digest_of(out / name)
    for name in ("paper/tar", "long", "none"):
        dataset = open_dataset(out / name / "train")
        loader = dataset.loader(
            recipe="resnet", batch_size=4, crop_size=48, dtype="uint8", mean="channel", num_threads=2
        )
        found[f"pixels of {name}"] = [hashlib.sha256(batch.images.numpy().tobytes()).hexdigest() for batch in loader]
    found["verified"] = str(verify(open_dataset(out / "none" / "train")))
    found["kernels from disk"] = sum(fill.stats.cache_hits.values())
    try:
        dataset.loader(decoder="turbojpeg", batch_size=2)
    except ValueError as error:
        found["refused"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
