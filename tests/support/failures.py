"""What is worth reading of a program that failed."""

import re
import subprocess

MOST_LINES = 30


def why(done: "subprocess.CompletedProcess[str]") -> str:
    """The last lines of a failed program; of pytest the names of the tests that failed, and the end of the first."""
    output = done.stdout + done.stderr
    failed = re.findall(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE)
    if failed:
        first = re.search(r"^_{3,} .*?(?=^_{3,} |^=+ short test summary|\Z)", output, re.MULTILINE | re.DOTALL)
        lines = first[0].splitlines() if first else []
        return "\n".join([*failed, "", *lines[-MOST_LINES:]])
    return "\n".join([f"status {done.returncode}", *output.splitlines()[-MOST_LINES:]])
