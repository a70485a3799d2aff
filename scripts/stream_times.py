"""What a batch of clips costs when frames are decoded as they are drawn (`genie train --stream`).

    python scripts/stream_times.py DATA ...

Prints, for 16 clips of 16 frames at 64 x 64 and 10 frames a second, milliseconds of CPU (all threads) and by the clock:
medians of 8 batches.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from genie_core.data import open_dataset, source_path
from genie_core.training.clips import stream_store

BATCHES, CLIPS, FRAMES, SIDE, FPS = 8, 16, 16, 64, 10


def main() -> None:
    """Measure each data set that is named."""
    for name in sys.argv[1:]:
        store = stream_store(open_dataset(source_path(name)).episodes, height=SIDE, width=SIDE, fps=FPS)
        times = []
        for seed in range(BATCHES):
            began = time.process_time(), time.monotonic()
            store.sample(np.random.default_rng(seed), CLIPS, FRAMES)
            times.append((time.process_time() - began[0], time.monotonic() - began[1]))
        cpu_ms, wall_ms = 1000 * np.median(times, axis=0)
        print(f"{name}: {store.frames.shape[0]:,} frames; {cpu_ms:.0f} ms of CPU, {wall_ms:.0f} ms a batch", flush=True)


if __name__ == "__main__":
    main()
