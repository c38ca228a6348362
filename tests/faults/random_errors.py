"""Works under errors drawn at random: any call of theirs that has to do with files, the n-th of its kind."""

import errno
import random
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from tests.faults.system_calls import CURES, Ask

ERRORS = {
    "opendir": "EIO ESTALE EACCES EMFILE",
    "readdir": "EIO ESTALE",
    "open": "EIO ESTALE EACCES EMFILE ENFILE",
    "openw": "ENOSPC EDQUOT EROFS EACCES EIO",
    "read": "EIO ESTALE",
    "write": "ENOSPC EDQUOT EIO",
    "fsync": "EIO ENOSPC EDQUOT",
    "fsyncdir": "EIO EINVAL EOPNOTSUPP",
    "flock": "ENOSYS ENOLCK EIO",
    "ftruncate": "ENOSPC EIO",
    "mmap": "ENOMEM EIO ENODEV",
    "fallocate": "ENOSPC EDQUOT EIO EOPNOTSUPP",
    "rename": "EIO ENOSPC EACCES",
    "link": "EIO EPERM",
    "mkdir": "ENOSPC EDQUOT EROFS EACCES",
    "unlink": "EIO EACCES EROFS",
    "stat": "EIO ESTALE EACCES",
    "sem_open": "EROFS EACCES ENOSPC",
}
WORKS = (
    *("convert", "convert tars", "quarantine", "repack", "verify"),
    *("load", "load tars", "load remote", "train", "evaluate"),
)


class Fault(NamedTuple):
    """The `number`-th of a work's calls of one kind fails, from 0; where it `stays`, all later ones too."""

    work: str
    call: str
    error: str
    number: int
    stays: bool

    def written(self, part: str) -> str:
        """As `failing.c` takes it, for paths that have `part` in them."""
        return f"{self.call} {getattr(errno, self.error)} {part} 0 {self.number} {-1 if self.stays else 1}"


class Works:
    """What works come to, and which calls they make, when nothing fails; `folder` is what all that they read and write
    lies in."""

    def __init__(self, ask: Ask, folder: Path) -> None:
        self.results: dict[str, str] = {}
        self.calls: dict[str, list[tuple[str, int]]] = {}  # each kind of call that a work makes, and how many
        self._ask, self._folder = ask, folder
        for work in WORKS:
            with self._out() as out:
                ((answer,), _) = ask(work, Path(out), [f"{','.join(ERRORS)} 0 {folder}"])
            kinds = [line.partition(" ")[0] for line in answer["injected"]]
            self.results[work] = answer["result"]
            self.calls[work] = [(kind, kinds.count(kind)) for kind in sorted(set(kinds))]

    def draw(self, chance: random.Random) -> Fault:
        """A fault."""
        work = chance.choice(WORKS)
        call, number = chance.choice(self.calls[work])
        return Fault(work, call, chance.choice(ERRORS[call].split()), chance.randrange(number), chance.random() < 0.5)

    def end(self, fault: Fault) -> str:
        """How a work ends under a fault: "harmless", "quarantined" or "refused"; it is then done again, soundly.

        Raises `AssertionError` where the bytes are others, then or at the end, or the error does not name a path and
        the cure.
        """
        with self._out() as out:
            ((answer, again), said) = self._ask(fault.work, Path(out), [fault.written(str(self._folder)), ""])
            assert "Traceback" not in said, (fault, said)
            quarantined = sum(map(num_rows, Path(out).rglob("quarantine.parquet")))
        where = (fault, answer, again)
        assert fault.work == "quarantine" or not quarantined, where
        last = answer if "result" in answer else again
        assert quarantined or last.get("result") == self.results[fault.work], where
        if "result" not in answer:
            assert answer["kind"] not in ("unknown", "death"), where
            assert str(self._folder) in answer["text"], where
            assert any(cure in answer["text"] for cure in CURES), where
            return "refused"
        return "quarantined" if quarantined else "harmless"

    def _out(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="out-", dir=self._folder)


def num_rows(table: Path) -> int:
    """Of a Parquet file."""
    return int(pq.read_metadata(table).num_rows)
