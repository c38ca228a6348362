"""Who may write into the folder of a run, and with which options it may be continued."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagefeed.jobs.runs.folder import CHECKPOINT, CONFIG, enter, only_run, plain
from imagefeed.jobs.training.config import TrainConfig
from imagefeed.model.checkpoint import Checkpoint, save_checkpoint
from tests.model.test_checkpoint import example

OPTIONS = plain(TrainConfig())


def entered(folder: Path, *, resume: bool = True, digest: str = "ab", **options: Any) -> Checkpoint | None:
    return enter(folder, resume=resume, options={**OPTIONS, **options}, num_classes=2, data_digest=digest)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was stopped after a checkpoint."""
    entered(tmp_path)
    save_checkpoint(tmp_path / CHECKPOINT, example(train_config=OPTIONS))
    return tmp_path


@pytest.mark.parametrize("resume", [True, False])
def test_a_new_or_empty_folder_is_made_ready(tmp_path: Path, resume: bool) -> None:
    for out in (tmp_path, tmp_path / "new" / "run"):
        assert entered(out, resume=resume) is None
        assert json.loads((out / CONFIG).read_text())["options"] == OPTIONS


def test_a_run_is_not_overwritten_unasked(run: Path) -> None:
    before = (run / CHECKPOINT).read_bytes()
    with pytest.raises(FileExistsError, match=rf"{run.name}: not empty; give --resume .* or another --out"):
        entered(run, resume=False)
    assert (run / CHECKPOINT).read_bytes() == before


def test_what_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not lose")
    with pytest.raises(FileExistsError, match="no run to resume"):
        entered(tmp_path)


def test_a_run_is_continued_for_longer_and_elsewhere(run: Path) -> None:
    (run / ".tmp-0123-checkpoint-last.pt").write_bytes(b"what a kill left")
    checkpoint = entered(run, epochs=200, threads=3, device="cpu", out="/other", max_steps=5, checkpoint_every=1)
    assert checkpoint is not None
    assert checkpoint["step"] == 77
    assert sorted(file.name for file in run.iterdir()) == [CHECKPOINT, CONFIG]
    assert json.loads((run / CONFIG).read_text())["options"]["epochs"] == 200


def test_a_run_killed_before_its_first_checkpoint_starts_again(run: Path) -> None:
    (run / CHECKPOINT).unlink()
    assert entered(run) is None


@pytest.mark.parametrize(
    ("options", "was"),
    [
        ({"width": 0.5}, "--width 1.0"),
        ({"seed": 1}, "--seed 0"),
        ({"batch_size": 64, "learning_rate": 0.1}, "--batch-size 128, --learning-rate 0.01"),
        ({"milestones": [3]}, r"--milestones \[\]"),
    ],
)
def test_other_options_are_refused(run: Path, options: dict[str, Any], was: str) -> None:
    with pytest.raises(ValueError, match=rf"{CHECKPOINT}: the run was started with {was}; give the same"):
        entered(run, **options)


def test_other_data_are_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="trained on other data"):
        entered(run, digest="cd")


def test_another_preset_is_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="was started with --preset paper, not caffe; give the same"):
        entered(run, preset="caffe")


def test_a_damaged_checkpoint_is_named(run: Path) -> None:
    (run / CHECKPOINT).write_bytes((run / CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{CHECKPOINT}: cut short"):
        entered(run)


def test_options_are_plain() -> None:
    options = plain(TrainConfig(data=Path("/data"), out=Path("/run"), schedule="steps", milestones=(3, 4)))
    assert json.loads(json.dumps(options)) == options
    assert options["data"] == "/data"
    assert options["milestones"] == [3, 4]


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    with only_run(tmp_path / "run"):
        with pytest.raises(RuntimeError, match="another run is writing there"), only_run(tmp_path / "run", 0.2):
            pass
    with only_run(tmp_path / "run", 0):
        pass
