"""What all tests need of their process."""

from __future__ import annotations

import signal

# A shell starts its background jobs with Ctrl-C ignored, and processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
