"""Settings of each of the processes that share one address: what a server may use is divided between them.

Pure functions; `supervisor` starts the processes.
"""

from __future__ import annotations

from genie_service.settings import MIB, Settings


def divided(settings: Settings, index: int, port: int, gpus: int, cores: int) -> Settings:
    """Return the settings of one worker.

    Places for calls and Play sessions, memory and CPU threads are those of the server over the number of workers,
    rounded up but for memory. What is said of one client (`max_frames_per_second`) holds in each worker.

    Args:
        settings: of the whole server.
        index: of the worker, from 0.
        port: that all of them listen on.
        gpus: number of GPUs, of which each worker takes one in turn if the device is just ``cuda``.
        cores: that this server may use.

    """
    of = settings.workers
    device = f"cuda:{index % gpus}" if settings.device == "cuda" and gpus else settings.device
    return settings.model_copy(
        update={
            "workers": 1,
            "port": port,
            "device": device,
            "threads": max(1, (settings.threads or cores) // of),
            "max_calls": -(-settings.max_calls // of),
            "max_play_streams": -(-settings.max_play_streams // of),
            "memory_mib": max(1, settings.memory_bytes // of // MIB),
            "metrics_address": None if settings.metrics_address is None else "127.0.0.1:0",
            "preload": "all" if settings.preload == "all" else "default",
            "exit_with_stdin": True,
        }
    )


__all__ = ["divided"]
