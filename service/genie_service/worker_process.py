"""``python -m genie_service.worker_process``: one of several processes behind one address. Started by `supervisor`.

Its settings are the first line of standard input. It ends when that is closed: a supervisor that was killed leaves no
worker behind.
"""

from __future__ import annotations

import os
import sys

from genie_core.errors import GenieError
from genie_service.settings import Settings


def main() -> int:
    """Serve; the process's exit code, as of `genie_service.process.run`."""
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: what follows must stay in the pipe
        byte = os.read(0, 1)
        if not byte:
            return 0
        line += byte
    # Given whole by the supervisor: unlike `Settings(...)` this asks neither the environment nor a file.
    settings = Settings.model_validate_json(line)
    from genie_service.process import run

    try:
        return run(settings, shares_port=True)
    except GenieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
