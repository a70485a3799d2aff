import subprocess
import sys

import genie_core.data


def test_every_public_name_is_there() -> None:
    for name in genie_core.data.__all__:
        assert getattr(genie_core.data, name) is not None


def test_reading_data_needs_no_torch() -> None:
    program = "import sys, genie_core.data; sys.exit('torch' in sys.modules or 'grpc' in sys.modules)"
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {program}"]
    assert subprocess.run(command, check=False).returncode == 0
