"""A recording for browsers: whom it is served to, and that Rerun's own page and data are there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.errors import GenieError
from genie_view.serving import check_address
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.support.processes import free_port
from tests.support.recordings import column

PROGRAM = Path(sys.executable).with_name("genie")


def test_other_addresses_than_loopback_have_to_be_meant() -> None:
    check_address("127.0.0.1", insecure=False)
    check_address("::1", insecure=False)
    check_address("0.0.0.0", insecure=True)
    with pytest.raises(GenieError, match="--insecure"):
        check_address("0.0.0.0", insecure=False)
    with pytest.raises(GenieError, match="expected an IP address"):
        check_address("localhost", insecure=False)


def received(port: int, path: Path, entity: str, component: str, count: int) -> dict[Any, Any]:
    """What a viewer gets that comes late: taken down by Rerun, until there are so many values."""
    words = ["--save", str(path), "--bind", "127.0.0.1", "--port", str(free_port(2))]
    command = [sys.executable, "-m", "rerun", *words, f"rerun+http://127.0.0.1:{port}/proxy"]
    found: dict[Any, Any] = {}
    with subprocess.Popen(command, env={**os.environ, "RERUN_ANALYTICS": "0"}, start_new_session=True) as taking:
        try:
            until = time.monotonic() + 120
            while len(found) < count and time.monotonic() < until:
                try:
                    found = column(path, entity, component)
                except (OSError, ValueError, RuntimeError, IndexError):
                    time.sleep(0.2)  # still being written
        finally:
            os.killpg(taking.pid, signal.SIGTERM)
    return found


@pytest.mark.filterwarnings("ignore:RRD file has no footer")
def test_a_browser_gets_the_page_until_it_is_interrupted(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    port = free_port(2)
    words = [PROGRAM, "view", labelled.path, "--serve", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            assert f"http://127.0.0.1:{port}?url=" in served.stdout.readline()
            page, until = b"", time.monotonic() + 120
            while not page and time.monotonic() < until:
                assert served.poll() is None
                try:
                    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
                except OSError:
                    time.sleep(0.2)
            assert b"<html" in page.lower()
            said = [served.stdout.readline(), served.stdout.readline()]
            assert said[-1] == "all of it is there\n"  # sent after the page was there
            codes = received(port + 1, tmp_path / "x.rrd", "/labels/code/number", "Scalars:scalars", 11)
            assert sorted(codes) == list(range(11))
        finally:
            served.terminate()
