"""The versions that a result was made with."""

import importlib.metadata
import platform
import sys


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of installed packages, by name.

    Of a package that is imported it is what that says of itself: torch names the CUDA that it was built with there.
    """
    found = {
        name: str(getattr(sys.modules.get(name), "__version__", None) or importlib.metadata.version(name))
        for name in packages
    }
    return {"python": platform.python_version(), **found}
