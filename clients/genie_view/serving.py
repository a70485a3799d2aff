"""Serves a recording to browsers, by Rerun's own web viewer: on loopback unless somebody says otherwise."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from genie_core.errors import GenieError


def check_address(host: str, insecure: bool) -> None:
    """Raise GenieError if `host` is no IP address, or not loopback and nobody has said that this is meant."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise GenieError(f"--host: got {host!r}, expected an IP address, e.g. 127.0.0.1") from None
    if not address.is_loopback and not insecure:
        raise GenieError(
            f"--host: got {host}: whoever reaches it reads the recording, unencrypted; if that is meant, add "
            "--insecure; else leave it out, and reach a remote machine through ssh -L"
        )


def serve_web(path: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve an .rrd file to browsers until interrupted or terminated: the page at `port`, data at the next one.

    Raises GenieError if the ports are taken.
    """
    from genie_view.recording import rerun_command

    shown = f"[{host}]" if ":" in host else host
    data = f"rerun%2Bhttp://{shown}:{port + 1}/proxy"
    say(f"look at it with a browser: http://{shown}:{port}?url={data} (Ctrl-C ends)")
    if ipaddress.ip_address(host).is_loopback:
        say(f"from another machine: ssh -L {port}:{shown}:{port} -L {port + 1}:{shown}:{port + 1} THIS_MACHINE")
    words = ["--serve-web", "--bind", host, "--port", str(port + 1), "--web-viewer-port", str(port), str(path)]
    command, environment = rerun_command(*words)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Rerun's command line is two processes, of a session of their own so that both can be ended.
    served = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, said = served.communicate()
        raise GenieError(f"serving the recording failed: {said.strip()[-2000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(served.pid, signal.SIGTERM)
        served.wait()
        signal.signal(signal.SIGTERM, before)


__all__ = ["check_address", "serve_web"]
