"""The training job as users start it: alone, on ranks of one machine, on two; killed, stopped and resumed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from imagefeed.jobs.runs.folder import CHECKPOINT, CONFIG, METRICS, TRACE
from imagefeed.jobs.train import command
from imagefeed.jobs.training import run as learning
from imagefeed.jobs.training.config import SAMPLE, TrainConfig, parse
from imagefeed.jobs.training.train import STOPPED, main
from imagefeed.model.checkpoint import Checkpoint, load_checkpoint
from tests.support.processes import send

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "jobs" / "train.py"
PATIENCE = 120.0  # seconds until a launch that hangs is a failure

# A network that is small and yet above DDP's first buffer of 1 MB, and batches that leave a rest, of 28 images.
OPTIONS: dict[str, Any] = {"width": 0.125, "initialisation": "he", "batch_size": 6, "threads": 1}


def arguments(data: Path, out: Path, **options: Any) -> list[str]:
    words = ["--data", str(data), "--out", str(out)]
    for name, value in {**OPTIONS, **options}.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


class Launch:
    """One torchrun with its ranks, in a process group of its own."""

    def __init__(
        self,
        words: list[str],
        *,
        ranks: int,
        torchrun: tuple[str, ...] = ("--standalone",),
        inside: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        command = [*inside, sys.executable, "-m", "torch.distributed.run", *torchrun, f"--nproc_per_node={ranks}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self.out = words[words.index("--out") + 1]  # by which its ranks are known
        self.process = subprocess.Popen(
            [*command, str(JOB), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def end(self) -> str:
        """Everything it said, once it has ended; raises where it does not."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return output

    def kill_all(self) -> None:
        for pid in [self.process.pid, *processes_of(self.out)]:
            send(pid, signal.SIGKILL)
        self.process.wait()


def processes_of(word: str) -> list[int]:
    """The processes that have `word` in their command line, but not torchrun itself."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if word in words and "torch.distributed.run" not in words:
                found.append(int(folder.name))
    return found


def wait_until(condition: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


def records(out: Path, *leave_out: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in leave_out} for line in lines]


def weights(checkpoint: Checkpoint) -> Tensor:
    velocities = [state["velocity"].flatten() for state in checkpoint["optimizer"]["state"].values()]
    return torch.cat([*(each.flatten() for each in checkpoint["model"].values()), *velocities])


@pytest.fixture
def data(shards: Path) -> Path:
    return shards / "tar"


def test_options_are_the_papers_with_data_and_the_samples_without() -> None:
    paper = parse(["--data", "/data", "--out", "/run"])
    assert paper == TrainConfig(data=Path("/data"), out=Path("/run"))
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.width) == (90, 128, 0.01, 1.0)
    assert parse(["--data=/data", "--out=/run"]) == paper
    assert parse([]) == SAMPLE
    changed = parse(["--seed", "3", "--no-resume"])
    assert (changed.seed, changed.resume, changed.width) == (3, False, SAMPLE.width)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--data", "/data"], "--data needs --out"),
        (["--schedule", "plateau", "--milestones", "3"], "--milestones needs --schedule steps"),
        (["--learning-rate", "-1"], "learning rate must be positive"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_options_without_meaning_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err


def test_one_process_trains_validates_and_leaves_its_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    config = parse(arguments(data, out, epochs=2, schedule="steps", milestones=1, log_every=2))
    main(config)
    spoken = capsys.readouterr()
    assert spoken.out.startswith("top-1 error ")
    assert "(chance 66.7%)" in spoken.out and "on 9 validation images after epoch 2" in spoken.out

    lines = records(out)
    assert [(line["kind"], line["epoch"], line["step"]) for line in lines] == [
        *(("train", 1, 2), ("train", 1, 4), ("train", 1, 5), ("val", 1, 5)),
        *(("train", 2, 6), ("train", 2, 8), ("train", 2, 10), ("val", 2, 10)),
    ]
    assert [line["lr"] for line in lines if line["kind"] == "train"] == pytest.approx([0.01] * 3 + [0.001] * 3)
    assert {line["num_samples"] for line in lines if line["kind"] == "val"} == {9}

    checkpoint = load_checkpoint(out / CHECKPOINT, num_classes=3)
    assert (checkpoint["epoch"], checkpoint["step"], checkpoint["world_size"]) == (2, 10, 1)
    assert checkpoint["classes"] == ["ant", "bee", "cat"]
    assert checkpoint["model_config"]["width"] == 0.125

    with pytest.raises(FileExistsError, match="--resume"):
        main(config)
    before = (out / CHECKPOINT).read_bytes()
    main(parse(arguments(data, out, epochs=2, schedule="steps", milestones=1, log_every=2, resume=True)))
    assert capsys.readouterr().out == spoken.out  # nothing left to do
    assert (out / CHECKPOINT).read_bytes() == before


def test_to_resume_needs_no_other_option(data: Path, tmp_path: Path) -> None:
    """The folder has them; what is given all the same has its way, and what would make it another run is refused."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    options = {"epochs": 2, "seed": 7, "log_every": 2, "schedule": "steps", "milestones": 1}
    started = parse(arguments(data, out, **options, max_steps=3, profile=1))
    main(started)
    resumed = parse(["--out", str(out), "--resume"])
    assert resumed == parse([f"--out={out}", "--resume"])
    assert resumed == replace(started, resume=True, max_steps=None, profile=None)
    assert parse(["--out", str(out), "--resume", "--epochs", "5"]) == replace(resumed, epochs=5)
    with pytest.raises(ValueError, match="the run was started with --seed 7; give the same to resume it"):
        main(parse(["--out", str(out), "--resume", "--seed", "8"]))
    main(resumed)
    main(parse(arguments(data, whole, **options)))
    ends = [load_checkpoint(folder / CHECKPOINT, num_classes=3) for folder in (out, whole)]
    assert ends[0]["epoch"] == 2 and torch.equal(*map(weights, ends))


def test_options_that_cannot_be_read_are_not_guessed(tmp_path: Path) -> None:
    assert parse(["--out", str(tmp_path), "--resume"]) == replace(SAMPLE, out=tmp_path)  # no run is there yet
    for damaged in (
        "{",
        "{}",
        "[]",
        '{"options": 3}',
        '{"options": {"preset": "none"}}',
        '{"options": {"epochs": 0}}',
    ):
        (tmp_path / CONFIG).write_text(damaged)
        with pytest.raises(ValueError, match=f"{tmp_path / CONFIG}"):
            parse(["--out", str(tmp_path), "--resume"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of FFCV, on Python 3.12
def test_it_trains_by_the_loaders_of_others(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))  # where FFCV's one file goes
    ends = {}
    for engine, format in (("imagefeed", "beton"), ("ffcv", "beton"), ("webdataset", "tar")):
        out = tmp_path / engine
        finish = "device" if engine == "ffcv" else "cpu"  # to the same values
        main(parse(arguments(shards / format, out, epochs=1, engine=engine, finish=finish)))
        ends[engine] = load_checkpoint(out / CHECKPOINT, num_classes=3)
    assert torch.equal(weights(ends["ffcv"]), weights(ends["imagefeed"]))  # the same batches
    assert ends["ffcv"]["step"] == ends["imagefeed"]["step"] == 5
    assert not torch.equal(weights(ends["webdataset"]), weights(ends["imagefeed"]))  # its own order
    assert capsys.readouterr().out.count("on 9 validation images after epoch 1") == 3
    # Stopped in the middle of an epoch, and taken up.
    out = tmp_path / "in two parts"
    options = {"epochs": 1, "engine": "webdataset"}
    main(parse(arguments(shards / "tar", out, **options, max_steps=2)))
    main(parse(arguments(shards / "tar", out, **options, resume=True)))
    assert torch.equal(weights(load_checkpoint(out / CHECKPOINT, num_classes=3)), weights(ends["webdataset"]))
    with pytest.raises(ValueError, match="the run was started with --engine webdataset; give the same to resume it"):
        main(parse(arguments(shards / "tar", out, epochs=1, resume=True)))


def test_batch_norm_sees_whole_batches_alone(data: Path, tmp_path: Path) -> None:
    """28 images make four batches of six. Padding, 2 of 6 rows, would be in the means that validation goes by."""
    out = tmp_path / "run"
    main(parse(["--preset", "modern", *arguments(data, out, epochs=1)]))
    assert [(line["kind"], line["step"]) for line in records(out)] == [("train", 4), ("val", 4)]
    with pytest.raises(ValueError, match="--batch-size 30 is more than the 28 training images"):
        main(parse(["--preset", "modern", *arguments(data, tmp_path / "other", batch_size=30)]))
    with pytest.raises(ValueError, match="--engine webdataset pads"):
        main(parse(["--preset", "modern", *arguments(data, tmp_path / "other", engine="webdataset")]))


def test_a_profile_is_a_trace_of_so_many_steps(data: Path, tmp_path: Path) -> None:
    main(parse(arguments(data, tmp_path / "run", max_steps=5, profile=2)))
    events = json.loads((tmp_path / "run" / TRACE).read_text())["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert {name for name in names if name.startswith("ProfilerStep#")} == {"ProfilerStep#2", "ProfilerStep#3"}
    assert "aten::_fused_sgd_" in names


def test_without_options_it_trains_on_the_sample(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[bool] = []
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path))
    (tmp_path / "shards").symlink_to(data)
    monkeypatch.setattr("imagefeed.jobs.training.train.sample_shards", lambda: made.append(True))
    main(parse(["--max-steps", "1", "--batch-size", "8", "--threads", "1"]))
    assert made
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)["model_config"]["width"] == SAMPLE.width
    assert "step 1, before the first validation" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(data: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bfloat16 is for CUDA"):
        main(parse(arguments(data, tmp_path, device="cpu", dtype="bfloat16")))
    with pytest.raises(FileNotFoundError, match="missing"):
        main(parse(arguments(tmp_path / "missing", tmp_path)))
    with pytest.raises(ValueError, match="GPUs: start one rank for each GPU"):
        main(parse(arguments(data, tmp_path, device="cuda")))
    assert not any(tmp_path.iterdir())


def test_a_loss_that_explodes_is_one_line_and_no_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments(data, out, epochs=3, learning_rate=1e9)])
    ids = r"on sample \d+, \d+, \d+, \d+, \d+, \d+"
    end = "try a lower learning rate; there is no checkpoint yet"
    with pytest.raises(SystemExit, match=f"^error: step 2: the loss is nan {ids}; {end}$"):
        command()
    assert not (out / CHECKPOINT).exists()

    main(parse(arguments(data, out, resume=True, max_steps=3)))
    monkeypatch.setattr(learning, "learning_rate", lambda *_, **__: 1e9)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments(data, out, resume=True)])
    with pytest.raises(SystemExit, match=f"step 5: .*; the last good checkpoint is step 3, {out / CHECKPOINT}$"):
        command()
    assert load_checkpoint(out / CHECKPOINT)["step"] == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_cuda_in_bfloat16_a_resumed_run_repeats(data: Path, tmp_path: Path) -> None:
    for out, stops in ((tmp_path / "a", (4,)), (tmp_path / "b", (2, 4))):
        for stop in stops:
            main(parse(arguments(data, out, max_steps=stop, device="cuda", dtype="bfloat16", resume=True)))
    results = [load_checkpoint(tmp_path / name / CHECKPOINT) for name in "ab"]
    assert torch.equal(weights(results[0]), weights(results[1]))


@pytest.fixture
def launches() -> Iterator[list[Launch]]:
    """Launches that end with the test, however it ends."""
    started: list[Launch] = []
    yield started
    for launch in started:
        if launch.process.poll() is None:
            launch.kill_all()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_ranks_two_machines_and_one_process_train_alike(data: Path, tmp_path: Path, launches: list[Launch]) -> None:
    # Without dropout, whose draws differ from rank to rank, the ranks change the order of additions alone. The
    # rate is low: at the usual one a loss that jumps makes much of that within ten steps.
    options: dict[str, Any] = {"epochs": 2, "dropout": 0.0, "learning_rate": 0.001}
    one, ranks, machines = (tmp_path / name for name in ("one", "ranks", "machines"))
    main(parse(arguments(data, one, **options)))

    launches.append(Launch(arguments(data, ranks, **options), ranks=2))
    output = launches[-1].end()
    assert launches[-1].process.returncode == 0, output
    assert output.count("top-1 error ") == 3  # one rank alone speaks: two epochs and the last line

    rendezvous = ("--nnodes=2", "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}", "--rdzv_id=test")
    words = arguments(data, machines, **options)
    for _ in range(2):
        launches.append(Launch(words, ranks=1, torchrun=(*rendezvous, "--local_addr=127.0.0.1")))
    outputs = [launch.end() for launch in launches[-2:]]
    assert [launch.process.returncode for launch in launches] == [0, 0, 0], outputs

    results = {out: load_checkpoint(out / CHECKPOINT) for out in (one, ranks, machines)}
    assert torch.equal(weights(results[ranks]), weights(results[machines]))
    torch.testing.assert_close(weights(results[one]), weights(results[ranks]), rtol=1e-3, atol=1e-5)
    speed = ("images_per_second", "waiting")
    assert records(ranks, *speed) == records(machines, *speed)
    assert [line["num_samples"] for line in records(machines) if line["kind"] == "val"] == [9, 9]


def test_a_sigterm_saves_the_very_step_and_is_told_by_the_status(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = arguments(data, out, epochs=10**6, checkpoint_every=10**6)
    with subprocess.Popen([sys.executable, JOB, *words], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: (out / CHECKPOINT).exists() or process.poll() is not None, "the first epoch's checkpoint")
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == STOPPED == 75, said
    step = load_checkpoint(out / CHECKPOINT)["step"]
    assert f"stopped at step {step}; --out {out} --resume continues from step {step}, {out / CHECKPOINT}" in said


def test_killed_in_every_way_it_resumes_to_the_same_weights(data: Path, tmp_path: Path, launches: list[Launch]) -> None:
    """Three ranks: with two, the order in which gradients are added could not show."""
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    endless = arguments(data, out, epochs=10**6, checkpoint_every=3, resume=True)

    def saved_step() -> int:
        return load_checkpoint(out / CHECKPOINT)["step"] if (out / CHECKPOINT).exists() else 0

    def interrupt(strike: Callable[[Launch], None]) -> tuple[int, str]:
        launch, before = Launch(endless, ranks=3), saved_step()
        launches.append(launch)
        wait_until(lambda: launch.process.poll() is not None or saved_step() > before, "a new checkpoint")
        strike(launch)
        output = launch.end()
        wait_until(lambda: not processes_of(str(out)), "ranks that outlive their launcher")
        return launch.process.returncode, output

    code, output = interrupt(lambda launch: send(processes_of(str(out))[1], signal.SIGKILL))  # one rank
    assert code == 1, output
    code, output = interrupt(lambda launch: send(launch.process.pid, signal.SIGKILL))  # torchrun itself
    assert code == -signal.SIGKILL, output
    code, output = interrupt(lambda launch: launch.process.terminate())
    assert code != 0
    assert not list(out.glob(".tmp*"))
    (line,) = [line for line in output.splitlines() if line.startswith("stopped at step ")]
    at, where = f"stopped at step {saved_step()}", f"step {saved_step()}, {out / CHECKPOINT}"
    assert line == f"{at}; --out {out} --resume continues from {where}"  # nothing was lost

    options: dict[str, Any] = {"checkpoint_every": 3, "max_steps": saved_step() + 7}
    for folder, more in ((out, {"resume": True}), (undisturbed, {})):
        launches.append(Launch(arguments(data, folder, epochs=10**6, **options, **more), ranks=3))
        output = launches[-1].end()
        assert launches[-1].process.returncode == 0, output
    resumed, expected = (load_checkpoint(folder / CHECKPOINT) for folder in (out, undisturbed))
    assert resumed["step"] == expected["step"] == options["max_steps"]
    assert torch.equal(weights(resumed), weights(expected))
    assert resumed["loader"] == expected["loader"]
    # The checkpoint of a SIGTERM comes with a record of its own, which cuts a mean over steps in two.
    results = [[line for line in records(folder) if line["kind"] == "val"] for folder in (out, undisturbed)]
    assert results[0] == results[1] and len(results[0]) >= 2

    launches.append(Launch(arguments(data, out), ranks=2))  # without --resume
    output = launches[-1].end()
    assert launches[-1].process.returncode != 0
    assert output.count(f"error: {out}: not empty") == 1, output
