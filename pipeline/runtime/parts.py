"""The parts of an installation beside its base: what says that one is missing, and how to install it.

with part("ray"):
    import ray
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Part -> what is imported of it; pyproject.toml has the same names and says which versions.
PARTS = {
    "ray": ("ray",),
    "train": ("tensorboard", "triton"),
    "serve": ("jinja2", "starlette", "uvicorn"),
    "evaluate": ("ray", "jinja2", "starlette", "uvicorn", "scipy", "vl_convert"),
    "export": ("onnx", "onnxruntime", "onnxscript", "safetensors"),
    "s3": ("s3fs",),
    "webdataset": ("webdataset",),
    "ffcv": ("ffcv", "cv2", "distutils", "tqdm"),
    "plot": ("matplotlib",),
}
FFCV = "pip install --no-deps --no-build-isolation --use-pep517 ffcv==1.0.2"  # it asks for a second OpenCV
CHECKOUT = Path(__file__).resolve().parents[2]


class MissingPart(ImportError):
    """A part of the installation is asked for that is not here; the text is one line with the command."""


@contextmanager
def part(name: str) -> Iterator[None]:
    """Imports of a part: raises `MissingPart` where a package of it is missing. Any other package's absence passes."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PARTS[name]:
            raise
        raise MissingPart(f"this needs {package}, which is not installed: {command(name)}", name=package) from error


def command(name: str) -> str:
    """What installs a part, to be typed as it stands."""
    further = f" && {FFCV}    (docs/install.md says what that is built with)" if name == "ffcv" else ""
    return f"pip install '{origin()}[{name}]'{further}"


def origin() -> str:
    """What this package was installed from: a checkout or a wheel, as long as it is there; else the package's name."""
    if (CHECKOUT / "pyproject.toml").exists():
        return str(CHECKOUT)
    try:
        installed = metadata.distribution("imagefeed")
    except metadata.PackageNotFoundError:
        return "imagefeed"
    url = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    path = Path(unquote(urlsplit(url).path))
    return str(path) if url.startswith("file:") and path.exists() else f"imagefeed-{installed.version}-py3-none-any.whl"
