"""A part that is missing says in one line what to install; another package's absence is another error."""

import re
import subprocess
import sys

import pytest

from imagefeed.pipeline.runtime.parts import PARTS, MissingPart, command, part
from tests.project.structure import ROOT

EXTRAS = sorted({name for names in PARTS.values() for name in names} - {"distutils"})
# A finder in front of the others, for which the packages are not installed.
HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
COMMAND = "from imagefeed.jobs.cli.main import main; main()"
SUBCOMMANDS = (
    "convert",
    "sample",
    "repack",
    "merge",
    "index",
    "verify",
    "stats",
    "inspect",
    "audit",
    "bench",
    "predict",
)


def in_the_base(code: str, *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of a process in which no package of a part is found."""
    line = [sys.executable, "-c", HIDE + code, *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def script(name: str) -> str:
    return f"import runpy; sys.argv[0] = '{name}'; runpy.run_path('{ROOT / name}', run_name='__main__')"


@pytest.mark.parametrize("name", PARTS)
def test_a_package_of_the_part_is_named_with_the_command(name: str) -> None:
    package = PARTS[name][0]
    with pytest.raises(MissingPart) as caught, part(name):
        raise ModuleNotFoundError(f"No module named '{package}.inner'", name=f"{package}.inner")
    assert str(caught.value) == f"this needs {package}, which is not installed: {command(name)}"
    assert f"pip install '{ROOT}[{name}]'" in command(name) and "\n" not in command(name)


def test_what_is_not_of_the_part_passes() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), part("ray"):
        __import__("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="jinja2"), part("ray"):
        raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")


# Each in a process of its own, which has no more than `main` imported.
HELP = """
import os
from imagefeed.jobs.cli.main import main
for words in ([], *([each] for each in sys.argv[1:])):
    child = os.fork()
    if not child:
        sys.argv[1:] = [*words, "--help"]
        sys.exit(main())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("status", status, *words, flush=True)
"""


def test_help_needs_no_part() -> None:
    status, output, errors = in_the_base(HELP, *SUBCOMMANDS)
    assert status == 0 and "Traceback" not in errors, errors
    shown = re.split(r"^(status .*)\n", output, flags=re.MULTILINE)
    assert shown[1::2] == ["status 0", *(f"status 0 {each}" for each in SUBCOMMANDS)]
    for words, each in zip(("", *SUBCOMMANDS), shown[::2], strict=False):
        assert f"usage: imagefeed {words}".rstrip() in each
    assert not shown[-1]


@pytest.mark.parametrize(
    ("code", "arguments", "name"),
    [
        (script("jobs/shard.py"), (), "ray"),
        (script("jobs/train.py"), (), "train"),
        (script("jobs/evaluate.py"), (), "evaluate"),
        (COMMAND, ("predict", "--serve"), "serve"),
    ],
)
def test_scripts_and_subcommands_end_in_one_line(code: str, arguments: tuple[str, ...], name: str) -> None:
    status, output, errors = in_the_base(code, *arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("error: this needs ") and errors.endswith(f": {command(name)}\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import imagefeed.ffcv", "ffcv"),
        (
            "from imagefeed.pipeline.interop.make_loader import make_loader as f; f('webdataset', None, None)",
            "webdataset",
        ),
    ],
)
def test_loaders_of_others_say_which_part_they_are(code: str, name: str) -> None:
    status, _, errors = in_the_base(code)
    assert status == 1 and errors.splitlines()[-1].endswith(f"which is not installed: {command(name)}")
