"""The command as a user types it."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import tyro

from imagefeed.jobs.cli import datasets, inspect, predict
from imagefeed.jobs.cli.app import app
from imagefeed.jobs.evaluation.config import EvaluateConfig
from imagefeed.jobs.export import ExportConfig
from imagefeed.jobs.shard import ShardConfig
from imagefeed.jobs.training.config import parse
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.runtime.command import CLI


def imagefeed(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "imagefeed", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_sample_then_convert(tmp_path: Path) -> None:
    drawn = imagefeed(
        "sample", tmp_path / "in", "--num-classes", "3", "--train-images-per-class", "8", "--val-images-per-class", "2"
    )
    assert drawn.returncode == 0, drawn.stderr
    made = imagefeed("convert", tmp_path / "in", tmp_path / "out", "--format", "beton", "--workers", "2")
    assert made.returncode == 0, made.stderr
    assert Manifest.load(tmp_path / "out" / "val").num_samples == 6
    assert f"{tmp_path}/out/train: 23 images of 3 classes in 1 beton shards" in made.stdout
    assert "1 could not be used" in made.stdout
    assert made.stderr.startswith(f"{tmp_path}/in (ilsvrc2012): train 24 and val 6 images of 3 classes (n9"), (
        made.stderr
    )
    quick = imagefeed("verify", "--quick", tmp_path / "out" / "val")
    assert "headers of 1 shards agree on 6 images, of which none was read" in quick.stdout, quick.stderr


FUNCTIONS: dict[str, Callable[..., None]] = {
    "convert": datasets.convert_command,
    "sample": datasets.sample_command,
    "repack": datasets.repack_command,
    "merge": datasets.merge_command,
    "index": inspect.index_command,
    "verify": inspect.verify_command,
    "stats": inspect.stats_command,
    "inspect": inspect.inspect_command,
    "audit": inspect.audit_command,
    "bench": inspect.bench_command,
    "predict": predict.main,
}
ROOT = Path(__file__).resolve().parents[2]
REQUIRED = object()  # in place of a default


def shown_by(command: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints that ends with its help."""
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 0
    return capsys.readouterr().out


def entries(text: str) -> dict[str, str]:
    """Option, or the letters of a positional argument -> what the help says of it, on one line."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if re.match(r"[╭─ ]{1,3}(\w+ )?options\b", line):  # the title of a group, whose words are of no option
            name = ""
        if not (within := re.match(r"[│ ] (.*?)[│ ]*$", line)) or re.fullmatch(r"[─-]{3,}", within[1]):
            continue  # with a frame, or without one
        line = within[1]
        if begins := re.match(r"(-h|--[a-z0-9-]+|\[*[A-Z]{2}[A-Za-z.]*)", line):
            name = begins[1]
            line = re.sub(r"^.*?(  +|$)", "", line)  # the names, and what stands for the value
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return {name: said for name, said in found.items() if name not in ("", "-h")}


def as_shown(value: object) -> str:
    """A default as the help has it."""
    if isinstance(value, tuple):
        return " ".join(map(as_shown, value))
    return repr(value) if isinstance(value, str) and " " in value else str(value)


def options_of(function: Callable[..., None]) -> Iterator[tuple[str, bool, object]]:
    """(name, whether it is positional, default) of all that a subcommand takes, dataclasses by their fields."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in signature(function).parameters.items():
        default = REQUIRED if parameter.default is Parameter.empty else parameter.default
        if is_dataclass(default):
            yield from fields_of(default)
        else:
            yield name, positional(hints[name]), default


def fields_of(config: Any) -> Iterator[tuple[str, bool, object]]:
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from fields_of(value)
        else:
            yield field.name, positional(hints[field.name]), value


def positional(hint: Any) -> bool:
    return get_args(tyro.conf.Positional[int])[1] in get_args(hint)[1:]


def check_help(text: str, expected: list[tuple[str, bool, object]]) -> None:
    """The help has each option and no other, explained, with the default that runs."""
    found = entries(text)
    flags = {f"--{name.replace('_', '-')}": default for name, place, default in expected if not place}
    assert {name for name in found if name.startswith("--")} == flags.keys()
    assert len(found) == len(expected)
    for name, said in found.items():
        ends = "(required)" if flags.get(name) is REQUIRED else f"(default: {as_shown(flags.get(name))})"
        assert said.endswith(ends if name in flags else ")"), (name, said)
        assert len(said.removesuffix(ends)) > 10, (name, said)


def test_help_lists_every_subcommand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = shown_by(lambda: app.cli(prog="imagefeed", args=["--help"], config=CLI), capsys)
    listed = re.search(r"\{([a-z,]+)\}", text)  # in the order in which a process has imported them
    assert listed is not None and sorted(listed[1].split(",")) == sorted(FUNCTIONS)
    for name, function in FUNCTIONS.items():
        assert getdoc(function).split("\n")[0] in text, name  # type: ignore[union-attr]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_names_every_argument(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = shown_by(lambda: app.cli(prog="imagefeed", args=[name, "--help"], config=CLI), capsys)
    check_help(text, list(options_of(FUNCTIONS[name])))


@pytest.mark.parametrize("job", ["shard", "train", "train --data", "evaluate", "export"])
def test_help_of_a_job_names_every_argument(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The defaults shown are those that run: what the job makes of no options at all, or of `--data` alone."""
    monkeypatch.setenv("COLUMNS", "300")
    data = ["--data", "D", "--out", "O"]
    command: dict[str, Callable[[list[str]], Any]] = {
        "shard": lambda arguments: tyro.cli(ShardConfig, args=arguments, config=CLI),
        "train": parse,
        "train --data": lambda arguments: parse([*data, *arguments]),
        "evaluate": lambda arguments: tyro.cli(EvaluateConfig, args=arguments),
        "export": lambda arguments: tyro.cli(ExportConfig, args=arguments),
    }
    text = shown_by(lambda: command[job](["--help"]), capsys)
    if job == "export":
        expected: list[tuple[str, bool, object]] = [(each.name, False, REQUIRED) for each in fields(ExportConfig)]
    else:
        expected = list(fields_of(command[job]([])))
        if job == "train --data":  # given, so they are no default
            expected = [(name, place, None if name in ("data", "out") else value) for name, place, value in expected]
    check_help(text, expected)


def test_audit_answers_to_its_old_name(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (
        shown_by(partial(app.cli, prog="imagefeed", args=[name, "--help"], config=CLI), capsys)
        for name in ("doubts", "audit")
    )
    assert old == new


def test_an_error_is_one_line(tmp_path: Path) -> None:
    failed = imagefeed("convert", tmp_path / "nowhere", tmp_path / "out")
    assert failed.returncode == 1
    assert failed.stderr == f"error: {tmp_path}/nowhere: no such file or folder\n"


SWALLOWED = """
import os, signal
from imagefeed.pipeline.runtime.command import run_command
from imagefeed.pipeline.runtime.progress import track

class Swallows:
    def __del__(self):  # Python prints what is raised here, and goes on
        os.kill(os.getpid(), signal.SIGINT)

def work():
    for number in range(100):
        if number == 1:
            Swallows()
        print(number, flush=True)
        yield 1

def working():
    sum(track(work(), 100, "working", "things"))

def failing():
    try:
        working()
    except KeyboardInterrupt:
        raise SystemError("what a library made of it")

run_command({command})
"""


@pytest.mark.parametrize("command", ["working", "failing"])
def test_an_interrupt_within_a_finaliser_is_not_lost(command: str) -> None:
    script = SWALLOWED.replace("{command}", command)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130 and "Exception ignored in" in ended.stderr, ended.stderr
    assert ended.stdout.split() == ["0", "1"]


def test_the_version_is_said() -> None:
    said = imagefeed("--version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"imagefeed {project['version']}, Python {sys.version.split()[0]}\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As `imagefeed inspect OUT --json | head -n 1` is."""
    script = "from imagefeed.pipeline.runtime.command import run_command\nrun_command(lambda: print('x\\n' * 99999))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "x\n"
        child.stdout.close()
        assert child.stderr.read() == ""
    assert child.returncode == 141
