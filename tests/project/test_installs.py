"""The one name `imagefeed` in every way that it comes: a bare checkout, an editable install, a wheel, a source
distribution, a job submitted to Ray, ranks of torchrun.

Nothing is downloaded: each way has a virtual environment of its own, which finds all other packages where this Python
has them, and no imagefeed there.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefeed.pipeline.dataset.manifest import Manifest
from tests.conftest import encoded, picture
from tests.support.cluster import another_node, beside_no_other, cluster, exported

ROOT = Path(__file__).resolve().parents[2]
JOBS = ("shard", "train", "evaluate", "export", "demo")
PARTS = ("pipeline", "model", "jobs")  # what the package holds, and what a user's own files may be called


def run(*command: str | Path, folder: Path, **settings: str) -> str:
    """What a command says on its standard output, run in `folder` with no path but that of its interpreter."""
    environment = {name: value for name, value in beside_no_other(settings).items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def new_environment(folder: Path) -> Path:
    """The Python of a new virtual environment. It finds the packages of this one by a plain line of a .pth file, which
    Python does not search for further .pth files: what is installed here in editable form is not found there."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    (site_packages(folder) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))


def install(python: Path, *what: str | Path) -> None:
    """Into the environment of `python` and nowhere else: without --ignore-installed pip would look at the others."""
    options = ["--ignore-installed", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(python, "-m", "pip", "install", "-q", *options, *what, folder=python.parent)


def bring_compiled(package: Path) -> Path:
    """Copies what Numba has compiled of this checkout beside the same sources elsewhere, where it has put it there.

    Compiling is not what is tested here; without these files all runs as well, minutes later.
    """
    for path in (ROOT / "pipeline").rglob("__pycache__/*.nb*"):
        target = package / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True, parents=True)
        shutil.copy2(path, target)
    package.mkdir(exist_ok=True)
    return package


def built(hook: str, sources: Path, out: Path) -> Path:
    """The archive that setuptools' own build backend makes of `sources`."""
    program = f"from setuptools import build_meta; build_meta.{hook}({str(out)!r})"
    run(sys.executable, "-W", "ignore", "-c", program, folder=sources)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this one, as it would be cloned, where tools may leave what they like."""
    folder = tmp_path_factory.mktemp("clone") / "imagefeed"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "shared", "results", "images")
    shutil.copytree(ROOT, folder, symlinks=True, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python for which no imagefeed is installed."""
    return new_environment(tmp_path_factory.mktemp("bare") / "env")


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("build_wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python into whose environment the wheel was installed."""
    environment = tmp_path_factory.mktemp("installed") / "env"
    python = new_environment(environment)
    install(python, wheel)
    bring_compiled(site_packages(environment) / "imagefeed")
    return python


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen small JPEGs, in train/ and val/ of two classes."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(16):
        folder = root / ("val" if number % 4 == 0 else "train") / ("bee" if number % 3 == 0 else "ant")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:02d}.jpg").write_bytes(encoded(picture(number, 260, 270)))
    return root


def test_the_bare_environment_finds_no_imagefeed(bare: Path, tmp_path: Path) -> None:
    """Else nothing here would prove anything."""
    found = "import importlib.util; import numpy; print(importlib.util.find_spec('imagefeed'))"
    assert run(bare, "-c", found, folder=tmp_path) == "None\n"


@pytest.mark.parametrize("job", JOBS)
def test_a_script_of_a_bare_checkout_runs_from_any_folder(job: str, bare: Path, tmp_path: Path) -> None:
    first, *_ = run(bare, ROOT / "jobs" / f"{job}.py", "--help", folder=tmp_path).splitlines()
    assert first.startswith("usage: ") and f"{job}.py" in first


def test_the_command_runs_from_a_bare_checkout(bare: Path) -> None:
    assert run(bare, "-m", "imagefeed", "--help", folder=ROOT).startswith("usage: imagefeed")


def test_an_editable_install_is_the_checkout_and_another_checkout_wins_over_it(checkout: Path, tmp_path: Path) -> None:
    python = new_environment(tmp_path / "env")
    install(python, "-e", checkout)
    where = "from imagefeed.pipeline.files import paths; print(paths.__file__)"
    inside = Path("imagefeed", "pipeline", "files", "paths.py")
    assert run(python, "-c", where, folder=tmp_path) == f"{checkout / inside}\n"
    assert run(python.with_name("imagefeed"), "--help", folder=tmp_path).startswith("usage: imagefeed")
    script = f"import runpy; runpy.run_path({str(ROOT / 'jobs' / 'export.py')!r}); {where}"
    assert run(python, "-c", script, folder=tmp_path) == f"{ROOT / inside}\n"


def test_a_wheel_holds_one_name_and_plain_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names} - {"imagefeed"}
        assert archive.read(f"{info}/top_level.txt") == b"imagefeed\n"
        listed = {line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().splitlines()}
        assert listed == set(names)
        assert all((each.external_attr >> 16) & 0o170000 in (0, 0o100000) for each in archive.infolist())  # no links
        for part in PARTS:
            sources = {str(path.relative_to(ROOT)) for path in (ROOT / part).rglob("*.py")}
            assert {name.removeprefix("imagefeed/") for name in names if name.startswith(f"imagefeed/{part}/")} == (
                sources | {str(path.relative_to(ROOT)) for path in (ROOT / part).rglob("templates/*")}
            )
        assert "imagefeed/py.typed" in names and "imagefeed/jobs/report/templates/base.html.j2" in names


def test_a_source_distribution_gives_the_same_wheel(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "sdist").mkdir()
    (tmp_path / "wheel").mkdir()
    archive = built("build_sdist", checkout, tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        assert all(member.isfile() or member.isdir() for member in tar)
        tar.extractall(tmp_path / "unpacked", filter="data")
    (sources,) = (tmp_path / "unpacked").iterdir()
    again = built("build_wheel", sources, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {name: first.read(name) for name in first.namelist()} == {
            name: second.read(name) for name in second.namelist()
        }


USE = """
import model, pipeline  # their own, beside this script
assert (model.WHOSE, pipeline.WHOSE) == ("the user's", "the user's")
import imagefeed
assert "site-packages" in imagefeed.__file__, imagefeed.__file__
train = imagefeed.open_dataset("shards/train")
loader = train.loader(recipe="eval", batch_size=5, num_threads=1)
batch = next(iter(loader))
print(tuple(batch.images.shape), batch.labels.tolist())
"""


def test_an_installed_imagefeed_lives_beside_a_users_own_pipeline_and_model(
    installed: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.py").write_text('WHOSE = "the user\'s"\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text('WHOSE = "the user\'s"\n')
    (tmp_path / "use.py").write_text(USE)
    command = installed.with_name("imagefeed")
    shown = run(command, "--help", folder=tmp_path)
    assert shown.startswith("usage: imagefeed") and "convert" in shown
    run(command, "convert", photos, "shards", "--workers", "1", folder=tmp_path)
    assert Manifest.load(tmp_path / "shards" / "train").num_samples == 12
    said = run(installed, "use.py", folder=tmp_path)
    assert said.startswith("(5, 3, 224, 224) ["), said


IMPORTS_ALL = """
import contextlib, importlib, io, pkgutil, runpy, sys
before = list(sys.path)
sys.argv = ["imagefeed", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    runpy.run_path(COMMAND, run_name="__main__")
import imagefeed
names = [each.name for each in pkgutil.walk_packages(imagefeed.__path__, "imagefeed.")]
for name in names:
    if name != "imagefeed.__main__":
        importlib.import_module(name)
import json
print(json.dumps({"before": before, "after": sys.path, "modules": len(names)}))
"""


def check_order(path: list[str]) -> None:
    """The standard library comes before every folder of packages."""
    library = path.index(sysconfig.get_path("stdlib"))
    assert library < min(place for place, folder in enumerate(path) if folder.endswith("site-packages")), path


def test_an_installed_imagefeed_leaves_the_path_alone(installed: Path, tmp_path: Path) -> None:
    """The command does, and the import of any module: the standard library stays first."""
    program = IMPORTS_ALL.replace("COMMAND", repr(str(installed.with_name("imagefeed"))))
    found = json.loads(run(installed, "-W", "ignore", "-c", program, folder=tmp_path).splitlines()[-1])
    assert found["before"] == found["after"]
    assert found["modules"] > 100
    check_order(found["after"])


WORKER = """
import json, sys
sys.path[:0] = PATH
from imagefeed.jobs.cluster.connect import connected
from imagefeed.jobs.cluster.work import on_ray

def look(number):
    import sys
    import imagefeed
    return imagefeed.__file__, sys.path

with connected():
    print(json.dumps(list(on_ray(look, [0]))[0]))
"""


@pytest.mark.parametrize("way", ["checkout", "wheel"])
def test_workers_of_an_embedded_ray_import_what_the_driver_does(
    way: str, bare: Path, installed: Path, tmp_path: Path
) -> None:
    program = WORKER.replace("PATH", repr([str(ROOT)] if way == "checkout" else []))
    python = bare if way == "checkout" else installed
    said = run(python, "-W", "ignore", "-c", program, folder=tmp_path, IMAGEFEED_HOME=str(tmp_path))
    file, path = json.loads(said.splitlines()[-1])
    package = ROOT if way == "checkout" else site_packages(installed.parents[1])
    assert Path(file) == package / "imagefeed" / "__init__.py"
    if way == "wheel":
        check_order(path)


# A task waits until another node has one, too: so both are at work, however fast they are.
SUBMITTED = """
import json, os, shutil, sys, time
from pathlib import Path
sys.path.insert(0, os.getcwd())  # as the first lines of jobs/shard.py
from imagefeed.jobs.cluster.connect import connected
from imagefeed.jobs.cluster.work import on_ray
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions

source, out, notes, compiled = sys.argv[1:]

def recorded(make):
    def task(work):
        import imagefeed, ray
        node = ray.get_runtime_context().get_node_id()
        Path(notes, node).write_text(imagefeed.__file__)
        shutil.copytree(compiled, Path(imagefeed.__file__).parent, dirs_exist_ok=True)  # see bring_compiled
        deadline = time.monotonic() + 90
        while len(os.listdir(notes)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return make(work)
    return task

with connected():
    options = ConvertOptions(resize="none", shard_size=3)
    convert(source, out, options, lambda make, tasks: on_ray(recorded(make), tasks))
print("driver", Path.cwd())
"""


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a cluster of two nodes is found."""
    home = tmp_path_factory.mktemp("home")
    try:
        environment = beside_no_other(exported(cluster("start", home).stdout))
        with another_node(environment):
            yield environment
    finally:
        cluster("stop", home)


def test_a_submitted_checkout_is_what_the_workers_of_all_nodes_import(
    two_nodes: dict[str, str], checkout: Path, photos: Path, tmp_path: Path
) -> None:
    """`ray job submit --working-dir .`, from a clone that is not the one this Python would import."""
    (checkout / "submitted.py").write_text(SUBMITTED)
    notes = tmp_path / "notes"
    notes.mkdir()
    command = ["python", "submitted.py", str(photos), str(tmp_path / "out"), str(notes)]
    command.append(str(bring_compiled(tmp_path / "compiled")))
    said = run("ray", "job", "submit", "--working-dir", ".", "--", *command, folder=checkout, **two_nodes)
    files = {path.name: path.read_text() for path in notes.iterdir()}
    assert len(files) == 2, files
    (copy,) = {Path(line.split()[1]) for line in said.splitlines() if line.startswith("driver ")}
    assert "working_dir_files" in copy.parts
    of_head, of_other = sorted(map(Path, files.values()), key=lambda file: copy not in file.parents)
    assert of_head == copy / "imagefeed" / "__init__.py"
    assert of_other.parts[-4:] == of_head.parts[-4:] and of_other != of_head  # the same package, unpacked there
    assert Manifest.load(tmp_path / "out" / "train").num_samples == 12


def test_ranks_of_torchrun_train_from_a_bare_checkout(bare: Path, shards: Path, tmp_path: Path) -> None:
    launch: list[str | Path] = [
        bare,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        ROOT / "jobs" / "train.py",
    ]
    options: list[str | Path] = [
        "--data",
        shards / "tar",
        "--out",
        tmp_path / "run",
        "--width",
        "0.0625",
        "--epochs",
        "1",
    ]
    run(*launch, *options, "--batch-size", "8", folder=tmp_path, OMP_NUM_THREADS="1")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines
    assert (tmp_path / "run" / "checkpoint-last.pt").is_file()
