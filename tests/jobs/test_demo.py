"""The demo leaves nothing behind, however it ends, and does not call a failure a success."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from imagefeed.jobs.cluster.processes import descendants
from imagefeed.jobs.demo import DemoConfig, stages, verdict
from imagefeed.jobs.evaluation.config import EvaluateConfig
from imagefeed.jobs.report.schema import ErrorRate, to_text
from imagefeed.jobs.shard import ShardConfig
from imagefeed.jobs.training.config import SAMPLE, parse
from tests.support.made_up import made_up_report
from tests.support.processes import words_of

ROOT = Path(__file__).resolve().parents[2]


class Demo:
    """A running demo with a home of its own; told to end where a test leaves it early."""

    def __init__(self, home: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "jobs" / "demo.py", *options],
            env=os.environ | {"IMAGEFEED_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self.folders: set[Path] = set()  # of its Ray, as its processes name them

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.end()

    def until(self, text: str) -> list[int]:
        """Waits for a line with this text; returns the ids of all processes there are then."""
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line, self.said
            self.said += line
        family = descendants(self.process.pid)
        self.folders = {Path(found) for each in family for found in re.findall(r"/tmp/imagefeed-\w+", words_of(each))}
        return family

    def end(self) -> int:
        if self.process.returncode is None:
            said, _ = self.process.communicate(timeout=60)
            self.said += said
        return self.process.returncode

    def left_behind(self, family: list[int]) -> list[object]:
        processes = [process for process in family if Path(f"/proc/{process}").exists()]
        return [*processes, *(folder for folder in self.folders if folder.exists())]


def test_ctrl_c_in_the_middle_of_training(tmp_path: Path) -> None:
    with Demo(tmp_path, "--ranks", "1") as demo:
        family = demo.until("epoch 1, step")
        assert len(family) > 10  # Ray, torchrun, its rank
        assert len(demo.folders) == 1 and all(folder.is_dir() for folder in demo.folders)
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 130
        assert not demo.left_behind(family)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"lock", "sample", "shards", "run"}


def test_a_stage_that_fails_ends_it(tmp_path: Path) -> None:
    sample = tmp_path / "demo" / "sample"
    sample.mkdir(parents=True)
    (sample / "ILSVRC2012_img_val.tar").write_bytes(b"of somebody else")
    with Demo(tmp_path) as demo:
        family = demo.until("2/5")
        assert family
        with Demo(tmp_path) as another:
            assert another.end() == 1
            assert "another demo runs in" in another.said
        assert demo.end() == 1
        assert "ILSVRC2012_img_val.tar is no part of this sample" in demo.said
        assert demo.said.endswith("ended with status 1; what it says about it stands above\n")
        assert "3/5" not in demo.said
        assert not demo.left_behind(family)


def test_stages_are_commands_that_the_jobs_understand(tmp_path: Path) -> None:
    (_, sample), (_, shard), (_, train), (_, evaluate) = stages(DemoConfig(ranks=3, epochs=7), tmp_path)
    assert sample == ["imagefeed", "sample", str(tmp_path / "sample")]
    assert "--nproc_per_node=3" in train
    assert parse(train[train.index("jobs/train.py") + 1 :]).epochs == 7
    assert "--local-addr=127.0.0.1" in train  # a machine may not find itself by its own name
    (_, train) = stages(DemoConfig(), tmp_path)[2]
    assert parse(train[train.index("jobs/train.py") + 1 :]) == SAMPLE
    assert tyro.cli(ShardConfig, args=shard[shard.index("jobs/shard.py") + 1 :]) == ShardConfig()
    assert tyro.cli(EvaluateConfig, args=evaluate[evaluate.index("jobs/evaluate.py") + 1 :]) == EvaluateConfig(
        neighbours=True
    )


def report(folder: Path, error: float) -> Path:
    made_up = made_up_report()
    entry = made_up.protocols["ten-crop"]
    content = replace(
        made_up,
        num_samples=200,
        protocols={**made_up.protocols, "ten-crop": replace(entry, top1=replace(entry.top1, error=error))},
        chance=replace(made_up.chance, top1=ErrorRate(error=0.95)),
    )
    (folder / "report.json").write_text(to_text(content))
    return folder


def test_verdict(tmp_path: Path) -> None:
    assert verdict(report(tmp_path, 0.4)) == (
        f"top-1 error 40.0% on 200 images, by chance 95.0%: 12.0 times as many right\nreport: {tmp_path}/report.html"
    )
    assert verdict(report(tmp_path, 0.74))
    with pytest.raises(RuntimeError, match=r"not learnt(.|\n)*top-1 error 76.0%(.|\n)*report.html"):
        verdict(report(tmp_path, 0.76))
