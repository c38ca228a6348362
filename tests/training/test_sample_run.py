"""The sample run: trained where it is missing, and only there."""

import subprocess
from pathlib import Path

import pytest

from imagefeed.jobs.training.sample_run import sample_checkpoint


@pytest.mark.parametrize("status", [0, 1])
def test_the_sample_run_is_trained_if_it_is_not_there(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path))
    launched: list[list[str]] = []

    def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        launched.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    if status:
        with pytest.raises(RuntimeError, match="could not be trained"):
            sample_checkpoint()
    else:
        assert sample_checkpoint() == tmp_path / "run" / "checkpoint-last.pt"
    assert [command[-2:] for command in launched] == [["-m", "imagefeed.jobs.train"]]
    assert "--local-addr=127.0.0.1" in launched[0]  # a machine may not find itself by its own name
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint-last.pt").touch()
    assert sample_checkpoint() == tmp_path / "run" / "checkpoint-last.pt"
    assert len(launched) == 1
