"""Programs as a user runs them whom permissions stop, also where the tests run as root."""

import os
import subprocess
import sys

RIGHTS = "-dac_override,-dac_read_search"  # by which root reads and writes what nobody may
ORDINARY = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"] if os.geteuid() == 0 else []


def ordinary(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments; its status and what it said."""
    command = [*ORDINARY, sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=120, env={**os.environ, **environment}
    )
