"""What all tests need of their process."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# Before torch is imported: several test processes that compute in all cores each wait for one another at every step of
# a small network (tests/alignment took fifteen times as long). Tests of several threads ask for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts its background jobs with Ctrl-C ignored, and processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Properties are tried on the same examples by everybody, wherever and however slow the machine.
settings.register_profile(
    "genie", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("genie")
