"""A checkpoint is whole or absent, reads back as it was, runs no code, and says what is wrong with it."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.model.checkpoint import FORMAT, Checkpoint, Writer, load_checkpoint, save_checkpoint


def example(**changes: Any) -> Checkpoint:
    checkpoint = Checkpoint(
        format=FORMAT,
        model_config={"num_classes": 2, "width": 0.25},
        model={"weight": torch.arange(1000, dtype=torch.float32)},
        optimizer={"state": {0: {"velocity": torch.ones(1000)}}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        scaler={},
        schedule={"reductions": 1, "lowest_error": float("inf"), "stalled_epochs": 0},
        loader={"seed": 2**63, "epoch": 3, "position": 128},
        epoch=3,
        step=77,
        world_size=2,
        train_config={"data": None, "milestones": [2, 3]},
        classes=["n00000001", "n00000002"],
        data_digest="ab",
        versions={"torch": "2.13.0"},
    )
    return {**checkpoint, **changes}  # type: ignore[typeddict-item]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint-last.pt"
    save_checkpoint(path, example())
    return path


def test_it_reads_back_as_it_was(path: Path) -> None:
    loaded = load_checkpoint(path, num_classes=2)
    for name, value in example().items():
        if name not in ("model", "optimizer"):
            assert loaded[name] == value  # type: ignore[literal-required]
    assert torch.equal(loaded["model"]["weight"], example()["model"]["weight"])
    assert torch.equal(loaded["optimizer"]["state"][0]["velocity"], torch.ones(1000))


@pytest.mark.parametrize("broken", ["torch.save", "os.fsync", "os.replace"])
def test_a_failure_on_the_way_leaves_the_old_one(path: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        if broken == "torch.save":
            arguments[1].write(b"half of it")
        raise OSError("no space left")

    before = path.read_bytes()
    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, example(step=78))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.pt.*jobs/train\.py"):
        load_checkpoint(tmp_path / "gone.pt")


def test_one_cut_short_is_named(path: Path) -> None:
    content = path.read_bytes()
    for size in (0, 1, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"{path.name}: cut short.*give another"):
            load_checkpoint(path)


def test_an_altered_byte_of_a_weight_is_named(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.find(torch.arange(500, 510, dtype=torch.float32).numpy().tobytes())
    assert place > 0
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name}: the record .*data.* was altered"):
        load_checkpoint(path)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_no_code_in_it_is_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    torch.save({"format": FORMAT, "model": Payload()}, path)
    with pytest.raises(ValueError, match=rf"{path.name}: no checkpoint of imagefeed \(UnpicklingError\)"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match=path.name):
        load_checkpoint(path)
    assert not Path("executed").exists()


def test_another_programs_file_is_named(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match=rf"{path.name}: no checkpoint of imagefeed"):
        load_checkpoint(path)
    others: list[Any] = [torch.zeros(3), {"state_dict": {}}]
    for other in others:
        torch.save(other, path)
        with pytest.raises(ValueError, match="has no 'format'"):
            load_checkpoint(path)


def test_what_does_not_fit_is_named(path: Path) -> None:
    with pytest.raises(ValueError, match="trained for 2 classes, the data have 3"):
        load_checkpoint(path, num_classes=3)
    save_checkpoint(path, example(format=FORMAT + 1))
    with pytest.raises(ValueError, match=rf"format {FORMAT + 1}, this version reads {FORMAT}"):
        load_checkpoint(path)
    incomplete = dict(example())
    del incomplete["loader"], incomplete["step"]
    torch.save(incomplete, path)
    with pytest.raises(ValueError, match="lacks loader, step"):
        load_checkpoint(path)


def test_a_writer_saves_what_was_when_it_was_called(path: Path) -> None:
    weight = torch.zeros(10**6)
    state = {"state": {0: {"velocity": torch.zeros(5)}}, "param_groups": [{"lr": 0.01}]}
    writer, called = Writer(), []
    writer.save(path, example(model={"weight": weight}, optimizer=state), lambda: called.append(path.stat().st_size))
    weight += 1  # training goes on
    state["state"][0]["velocity"] += 1  # type: ignore[index]
    state["param_groups"][0]["lr"] = 1.0  # type: ignore[index]
    writer.wait()
    loaded = load_checkpoint(path)
    assert not loaded["model"]["weight"].any()
    assert not loaded["optimizer"]["state"][0]["velocity"].any()
    assert loaded["optimizer"]["param_groups"] == [{"lr": 0.01}]
    assert called == [path.stat().st_size]


def test_a_writers_failure_comes_out_at_the_next_call_and_once(path: Path) -> None:
    writer, before = Writer(), path.read_bytes()
    writer.save(path.parent / "gone" / path.name, example())
    with pytest.raises(OSError, match="gone"):
        writer.save(path, example(step=78))
    assert path.read_bytes() == before
    writer.save(path, example(step=79))
    writer.wait()
    assert load_checkpoint(path)["step"] == 79
