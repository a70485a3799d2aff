"""Label a video and simulate another ending of it, through a running server.

genie serve &
python examples/label_and_simulate.py VIDEO [HOST:PORT]
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from genie_client import Client
from genie_core.data import open_dataset, write_video

HORIZON = 8


def main(video: Path, address: str = "localhost:50051") -> None:
    """Print the video's latent actions and write what holding the commonest one would have led to."""
    episode = open_dataset(video).episodes[0]
    with Client(address) as client:
        model = client.model()
        labels = client.label(episode.frames(), fps=episode.fps)
        counts = Counter(labels.code[labels.valid].tolist())
        for code, count in counts.most_common():
            print(f"latent action {code}: {count} transitions")
        common = counts.most_common(1)[0][0]
        futures = client.rollout(episode.frames(0, 1), actions=[common] * HORIZON, seed=0)
    out = video.with_name(f"{video.stem}.what-if.mp4")
    write_video(out, futures, model.fps)
    print(f"{HORIZON} simulated frames under latent action {common}: {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
