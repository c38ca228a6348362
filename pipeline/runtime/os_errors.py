"""What an error of the operating system says: the path, what was being done there, and the cure.

The kernel gives a number alone. Python adds the path where a call was given one, and not where a file was open already:
reading, writing, syncing and locking.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})  # of flock: that file system has none
# Of one file, while its neighbours may be sound.
OF_ONE_FILE = frozenset({errno.EIO, errno.ESTALE, errno.EACCES, errno.EBADMSG, errno.EUCLEAN, errno.EREMOTEIO})

_DISK_FAILS = "the disk, or the way to it, fails: see the system's log, then run again"
_CURES = {
    errno.EIO: _DISK_FAILS,
    errno.EBADMSG: _DISK_FAILS,
    errno.EUCLEAN: _DISK_FAILS,
    errno.EREMOTEIO: _DISK_FAILS,
    errno.ESTALE: "its server has another file there by now: mount that file system again, then run again",
    errno.ENOSPC: "make room there, or name a folder on another disk, then run again",
    errno.EDQUOT: "remove files of yours there, or ask for a larger quota, then run again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or make smaller ones",
    errno.EROFS: "that file system is read-only: name a folder that can be written to",
    errno.EACCES: "give the user who runs this the right to it, or name another place",
    errno.EPERM: "give the user who runs this the right to it, or name another place",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the whole machine has too many files open: end what holds them",
    errno.ENOMEM: "memory is short, or the process has all the maps it may have: raise vm.max_map_count",
    errno.ENOLCK: "that file system has no locks to give: name a folder on another disk",
    errno.ENOSYS: "that file system cannot do this: name a folder on another disk",
    errno.EOPNOTSUPP: "that file system cannot do this: name a folder on another disk",
    errno.ENOENT: "see that the path is right, and what it lies on mounted",
    errno.ELOOP: "a link leads to itself: remove it",
    errno.ENAMETOOLONG: "choose shorter names",
}
_CANNOT = " cannot be "


def cure_of(error: OSError) -> str:
    """What a user can do about it."""
    return _CURES.get(error.errno or 0, "see that what it lies on is mounted and sound, then run again")


def explained(error: OSError, action: str, where: Path | str | int, cure: str = "") -> OSError:
    """An error of the same kind whose text says that `where`, a path or a descriptor, cannot be `action` ("read").

    `cure` is for the place at hand, instead of the one for the number. An error that says all this already, or in other
    words than the system's, is returned as it is.
    """
    said = error.strerror or ""
    if error.errno is None or os.strerror(error.errno) not in said or _CANNOT in said:
        return error
    path = path_of(where) if isinstance(where, int) else os.fspath(where)
    other = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    inner = f" at {other}" if other not in (None, where, path) else ""
    return OSError(error.errno, f"{path}{_CANNOT}{action}: {os.strerror(error.errno)}{inner}; {cure or cure_of(error)}")


@contextmanager
def doing(action: str, where: Path | str | int, cure: str = "") -> Iterator[None]:
    """What the operating system refuses in the block is raised as `explained` says."""
    try:
        yield
    except OSError as error:
        told = explained(error, action, where, cure)
        if told is error:
            raise
        raise told from error


def one_line(error: BaseException) -> str:
    """An error as a command ends with it: one that names a path alone gets the cure."""
    if isinstance(error, OSError) and error.errno and error.strerror == os.strerror(error.errno):
        return f"{error}; {cure_of(error)}"
    return str(error)


def path_of(descriptor: int) -> str:
    """The path of an open file, as Linux knows it; elsewhere its number."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return f"the open file {descriptor}"
