"""What a process may say on a slow machine, beside what a test expects of it."""

import re

# Lines of `pipeline/jit/turns.py`, said once looking up compiled code, or compiling it, takes more than two seconds.
_SLOW = re.compile(
    r"compiling \w+ for this machine, which happens once"
    r"|compiled \w+ in \d+ s"
    r"|waiting for another process, which compiles \w+ for this machine"
    r"|\w+ was compiled by another process in \d+ s"
)


def apart_from_compiling(text: str) -> str:
    """The lines of `text` without those that say how long code takes: whether they come depends on the load."""
    return "".join(line for line in text.splitlines(keepends=True) if not _SLOW.fullmatch(line.strip()))
