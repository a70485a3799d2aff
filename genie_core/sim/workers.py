"""Distributes episodes to worker processes: one pipe per worker, the next number to the first one free.

Not `concurrent.futures`: an interrupted run must stop its workers at once, and report which one died of what.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from genie_core.errors import DatasetError, GenieError
from genie_core.sim import backend
from genie_core.sim.config import SimConfig
from genie_core.sim.episode import Recorder
from genie_core.sim.parts import Parts

MakeRecorder = Callable[[SimConfig], Recorder]
"""A function at a module's top level: it is sent to the worker by name."""


def _work(pipe: Connection, folder: Path, config: SimConfig, gl: str, make_recorder: MakeRecorder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    backend.prepare(gl)
    parts = Parts(folder)
    recorder: Recorder | None = None
    try:
        while True:
            number: int = pipe.recv()
            recorder = recorder or make_recorder(config)
            parts.write(number, recorder(number))
            pipe.send("")
    except EOFError:  # nothing left to do, or the parent is gone
        pass
    except GenieError as error:
        pipe.send(str(error))
    except Exception:
        pipe.send(traceback.format_exc())


def run(
    numbers: Sequence[int], workers: int, folder: Path, config: SimConfig, gl: str, make_recorder: MakeRecorder
) -> Generator[int, None, None]:
    """Make the episodes of these numbers in `folder`; yield each number once its episode is stored.

    Leaving the iterator early, by an error or Ctrl-C, ends the workers; stored episodes stay.
    """
    # A new interpreter each: the renderers read the environment on import and do not survive a fork.
    context = multiprocessing.get_context("spawn")
    waiting = iter(numbers)
    busy: dict[Connection, int] = {}
    processes: dict[Connection, SpawnProcess] = {}
    try:
        for number in islice(waiting, workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, folder, config, gl, make_recorder), daemon=True)
            process.start()
            theirs.close()  # so that a worker's death ends the pipe
            processes[ours] = process
            ours.send(number)
            busy[ours] = number
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                number = busy.pop(ready)
                yield _finished(ready, number, processes[ready])
                if (following := next(waiting, None)) is not None:
                    ready.send(following)
                    busy[ready] = following
                else:
                    ready.close()
    except BaseException:
        for process in processes.values():
            process.kill()  # nothing is lost: an unfinished episode is only a temporary file
        raise
    finally:
        for connection in processes:
            connection.close()
        for process in processes.values():
            process.join()


def _finished(pipe: Connection, number: int, process: SpawnProcess) -> int:
    try:
        complaint: str = pipe.recv()
    except (EOFError, ConnectionError):
        process.join()
        complaint = f"its process ended with status {process.exitcode} (killed for memory?)"
    if complaint:
        raise DatasetError(f"Episode {number} could not be made: {complaint}")
    return number


__all__ = ["MakeRecorder", "run"]
