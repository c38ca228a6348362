"""Other processes as the kernel shows them; each of them may have ended meanwhile."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_LISTENS = "0A"  # linux/net/tcp_states.h


def send(process: int, number: int) -> None:
    """A signal to a process; nothing where it has ended."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def run_whole(command: Sequence[str | Path], **options: Any) -> int:
    """Runs a command and returns its status; what it has started and not ended ends with it.

    torch 2.13: a worker of a DataLoader whose parent ends while it starts waits for ever.
    """
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            return process.wait(timeout=500)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def alive(process: int) -> bool:
    """Whether it runs; a process that has ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def name_of(process: int) -> str:
    """What the kernel calls a process; "" where it has ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def words_of(process: int) -> str:
    """A process's command line; "" where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def open_files(process: int) -> Iterator[str]:
    """What a process has open, by the kernel's names: paths, "socket:[INODE]"; nothing of one that has ended."""
    try:
        descriptors = os.listdir(f"/proc/{process}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            yield os.readlink(f"/proc/{process}/fd/{descriptor}")


def listening(processes: Iterable[int]) -> list[str]:
    """The addresses of the TCP sockets on which these processes wait for connections, one a socket."""
    names = "\n".join(name for process in processes for name in open_files(process))
    inodes = set(re.findall(r"socket:\[(\d+)\]", names))
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS and fields[9] in inodes:
                words = bytes.fromhex(fields[1].partition(":")[0])
                address = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                found.append(socket.inet_ntop(family, address))
    return found
