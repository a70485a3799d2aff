"""Serves a recording to browsers, by Rerun's own web viewer: on loopback unless somebody says otherwise."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from genie_view.recording import Recording

_HELD = "4GB"
"""Newest data that are kept for browsers that come later."""


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


def serve_web(shown: Path | Sequence[Recording], host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve an .rrd file, or recordings as they are read, to browsers until interrupted or terminated.

    The page is at `port`, data at the next one. Raises GenieError if the ports are taken.
    """
    from genie_view.recording import rerun_command

    named = f"[{host}]" if ":" in host else host
    data = f"rerun%2Bhttp://{named}:{port + 1}/proxy"
    say(f"look at it with a browser: http://{named}:{port}?url={data} (Ctrl-C ends)")
    if ipaddress.ip_address(host).is_loopback:
        say(f"from another machine: ssh -L {port}:{named}:{port} -L {port + 1}:{named}:{port + 1} THIS_MACHINE")
    words = ["--serve-web", "--bind", host, "--port", str(port + 1), "--web-viewer-port", str(port)]
    words += [str(shown)] if isinstance(shown, Path) else ["--server-memory-limit", _HELD]
    command, environment = rerun_command(*words)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Rerun's command line is two processes, of a session of their own so that both can be ended.
    served = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        if not isinstance(shown, Path) and _sent(shown, served, host, port + 1):
            say("all of it is there")
        _, said = served.communicate()
        raise GenieError(f"serving the recording failed: {said.strip()[-2000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(served.pid, signal.SIGTERM)
        served.wait()
        signal.signal(signal.SIGTERM, before)


def _sent(recordings: Sequence[Recording], served: subprocess.Popen[str], host: str, port: int) -> bool:
    """Send recordings to the server, once it listens, and return whether it was there to the end."""
    from genie_view.recording import listens, log_recording, stream_over

    address = ipaddress.ip_address(host)
    if address.is_unspecified:  # every address of this machine, loopback among them
        host = "::1" if address.version == 6 else "127.0.0.1"
    while not listens(host, port):
        if served.poll() is not None:
            return False
        time.sleep(0.1)
    for recording in recordings:
        if served.poll() is not None:
            return False
        with stream_over(host, port, recording) as stream:
            log_recording(stream, recording)
    return served.poll() is None


__all__ = ["check_address", "serve_web"]
