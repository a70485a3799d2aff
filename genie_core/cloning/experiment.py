"""The cloning experiment: demonstrations, labels, then one job per policy (train it, roll out its conditions).

A job is a function of the task, the bundle's labels and its own name. Jobs run in separate processes of one thread
each, and finished work is kept.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import connection
from pathlib import Path

import numpy as np
import torch

from genie_core.alignment.dictionary import Dictionary
from genie_core.cloning.demonstrations import (
    Array,
    Rows,
    labelled_rows,
    read_actions,
    read_videos,
    transition_counts,
)
from genie_core.cloning.labels import VideoLabels, label_videos, read_labels, write_labels
from genie_core.cloning.meaning import Labelled, Scale, fit_reader
from genie_core.cloning.plan import CloningConfig, Condition, Extent, Method, conditions, units
from genie_core.cloning.policy import Moments, Policy, moments, train_policy, transitions
from genie_core.cloning.rollout import Agent, Blind, Coded, Direct, Expected, Latent, roll_out
from genie_core.cloning.store import Store
from genie_core.cloning.task import Environment, Task
from genie_core.errors import DatasetError, ModelError
from genie_core.inference import Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress


@dataclass(frozen=True)
class Job:
    """Conditions that share a policy, and everything that a worker needs for them.

    `codes` and `fine_codes` are how many the model has; `unit_codebook_KD` are its codes if latents have unit length.
    """

    task: Task
    config: CloningConfig
    folder: Path
    codes: int
    fine_codes: int
    unit_codebook_KD: Array | None
    conditions: tuple[Condition, ...]
    episodes: int


def run_experiment(
    task: Task, bundle: Bundle, config: CloningConfig, extent: Extent, folder: Path, jobs: int, progress: Progress
) -> Store:
    """Run what is missing of an experiment in `folder`.

    Args:
        task: makes demonstrations and counts success.
        bundle: its frozen latent action model labels the videos.
        config: what the results depend on.
        extent: how much of it to run.
        folder: for everything that is made; with the same one the experiment resumes.
        jobs: number of processes.
        progress: receives the current stage and how much of it is done.

    Raises:
        DatasetError: the folder holds another experiment, `extent` labels more steps than there are, or a job fails.
        ModelError: the bundle's frame rate is not the task's, or it has no fine codes and `extent` asks for them.

    """
    todo = prepare(task, bundle, config, extent, folder, jobs, progress)
    store, wanted = Store(folder), conditions(extent)

    def report() -> None:
        progress("conditions", sum(len(store.results(c)) >= extent.episodes for c in wanted), len(wanted))

    _run_jobs(todo, jobs, report)
    return store


def prepare(
    task: Task, bundle: Bundle, config: CloningConfig, extent: Extent, folder: Path, jobs: int, progress: Progress
) -> list[Job]:
    """Make demonstrations and labels if necessary, and return the remaining jobs; see `run_experiment`."""
    if bundle.config.fps != task.fps:
        raise ModelError(
            f"{bundle.name}: got a bundle of {bundle.config.fps:g} frames/s, expected {task.fps:g} as the task has"
        )
    fine_codes = 0 if bundle.info.fine_codebook is None else len(bundle.info.fine_codebook)
    if "fine" in extent.methods and not fine_codes:
        raise ModelError(f"{bundle.name}: it has no fine codes; compare without the policy `fine`")
    store = Store(folder)
    store.open({"task": task.identity(), "bundle_id": bundle.bundle_id, **config.model_dump(mode="json")})
    if not store.demonstrations.exists():
        task.demonstrate(config.demonstrations, store.demonstrations, jobs, progress)
    transitions = sum(transition_counts(store.demonstrations))
    if max(extent.labelled) > transitions:
        raise DatasetError(f"labelled: got {max(extent.labelled)}, the demonstrations have {transitions} transitions")
    if not store.labels.exists():
        progress("labels", 0, 1)
        write_labels(store.labels, label_videos(Labeller(bundle), read_videos(store.demonstrations)))
    unit_codebook_KD = bundle.codebook.astype(np.float64) if bundle.info.usual_norm is None else None
    codes = len(bundle.codebook)
    return [
        Job(task, config, folder, codes, fine_codes, unit_codebook_KD, tuple(missing), extent.episodes)
        for unit in units(extent)
        if (missing := [c for c in unit if len(store.results(c)) < extent.episodes])
    ]


def _run_jobs(todo: Sequence[Job], jobs: int, report: Callable[[], None]) -> None:
    """Run all jobs, `jobs` at a time; the first error ends those under way."""
    report()
    if not todo:
        return
    with _pool(min(jobs, len(todo))) as pool:
        waiting: set[Future[None]] = {pool.submit(run_job, job) for job in todo}
        while waiting:
            done, waiting = wait(waiting, timeout=2.0, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    future.result()
                except BrokenProcessPool:
                    raise DatasetError("A worker ended in the middle of its job (killed for memory?)") from None
            report()


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of new interpreters: renderers do not survive a fork. An error or Ctrl-C ends them at once."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.kill()  # nothing is lost: finished work is in the folder
        raise
    pool.shutdown()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End with the parent, however that ends: a pool's workers would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@lru_cache(maxsize=1)
def _environment(task: Task) -> Environment:
    """Return the environment for all jobs of a process: making a simulated one takes seconds."""
    return task.environment()


def run_job(job: Job) -> None:
    """Train what is not trained yet, then roll out every condition and store its results."""
    # Another number of threads would round differently: results must not depend on how jobs are distributed.
    with threads_of_this_thread(1):
        store = Store(job.folder)
        environment = _environment(job.task)
        for condition in job.conditions:
            agent = make_agent(condition, job, store)
            steps = store.results(condition)
            for number in range(len(steps), job.episodes):
                rng = np.random.default_rng([condition.seed, number, 1])
                steps.append(roll_out(environment, agent, number, job.task.max_steps, rng))
            store.write_results(condition, steps)


def make_agent(condition: Condition, job: Job, store: Store) -> Agent:
    """Return the agent of a condition, training its policy if necessary."""
    match condition.method:
        case "random":
            return Blind(job.task.action_size)
        case "oracle" | "labels":
            return Direct(_policy(condition, job, store, _train_on_actions))
        case "vpt":
            return Direct(_policy(condition, job, store, _train_on_inferred_actions))
        case "codes" | "expected" | "fine" | "flow_codes":
            policy = _policy(condition, job, store, _train_on_labels)
            rows = _labelled_rows(condition, store)
            code_M = _codes(condition.method, read_labels(store.labels))
            codes = job.fine_codes if condition.method == "fine" else job.codes
            dictionary = Dictionary.fill(code_M[rows], read_actions(store.demonstrations)[rows], codes)
            return (Coded if condition.method == "codes" else Expected)(policy, dictionary)
        case "latents" | "flow":
            policy = _policy(condition, job, store, _train_on_labels)
            vectors_MD = _vectors(condition.method, read_labels(store.labels))
            codebook_KD = job.unit_codebook_KD if condition.method == "latents" else None
            scale = Scale.of(vectors_MD) if codebook_KD is None else Scale(None)
            return Latent(
                policy, fit_reader(_labelled(condition, store, vectors_MD), scale, codebook_KD, condition.seed)
            )


def _codes(method: Method, labels: VideoLabels) -> Rows:
    if method == "flow_codes":
        return labels.flow_code_M
    if method == "fine":
        assert labels.fine_M is not None
        return labels.fine_M
    return labels.code_M


def _vectors(method: Method, labels: VideoLabels) -> Array:
    return labels.flow_MF if method == "flow" else labels.latent_MD


def _policy(
    condition: Condition, job: Job, store: Store, train: Callable[[Condition, Job, Store, Moments], Policy]
) -> Policy:
    """Return the condition's policy, from the folder or newly trained and stored there."""
    policy = store.load_policy(condition.policy_key)
    if policy is None:
        seen = moments(read_videos(store.demonstrations), job.config.policy.frames)
        policy = train(condition, job, store, seen)
        store.save_policy(condition.policy_key, policy)
    return policy


def _train_on_labels(condition: Condition, job: Job, store: Store, seen: Moments) -> Policy:
    """Train on frames and their latent actions or flow only: no action is read here."""
    labels = read_labels(store.labels)
    config, seed, method = job.config.policy, condition.seed, condition.method
    if method in ("latents", "flow"):
        vectors_MD = _vectors(method, labels)
        return train_policy(seen, vectors_MD, "numbers", vectors_MD.shape[1], config, seed)
    codes = job.fine_codes if method == "fine" else job.codes
    return train_policy(seen, _codes(method, labels), "codes", codes, config, seed)


def _train_on_inferred_actions(condition: Condition, job: Job, store: Store, seen: Moments) -> Policy:
    """Train a network that reads actions off frames on the N labelled steps, and a policy on what it reads everywhere.

    That is Baker et al. 2022 (VPT) at this size; the network sees the two frames of a transition.
    """
    config, seed = job.config.policy, condition.seed
    rows = _labelled_rows(condition, store)
    actions_NA = read_actions(store.demonstrations)[rows]
    steps = transitions(read_videos(store.demonstrations))
    inverse = train_policy(steps.take(rows), actions_NA, "numbers", actions_NA.shape[1], config, seed)
    inferred_MA = np.clip(inverse.predict_all(steps), -1.0, 1.0)
    return train_policy(seen, inferred_MA, "numbers", inferred_MA.shape[1], config, seed)


def _train_on_actions(condition: Condition, job: Job, store: Store, seen: Moments) -> Policy:
    """Train on real actions: of all transitions, or only the labelled ones and their frames."""
    actions_MA = read_actions(store.demonstrations)
    if condition.method == "labels":
        rows = _labelled_rows(condition, store)
        seen, actions_MA = seen.take(rows), actions_MA[rows]
    return train_policy(seen, actions_MA, "numbers", actions_MA.shape[1], job.config.policy, condition.seed)


def _labelled_rows(condition: Condition, store: Store) -> Rows:
    return labelled_rows(transition_counts(store.demonstrations), condition.labelled, condition.seed)


def _labelled(condition: Condition, store: Store, vectors_MD: Array) -> Labelled:
    """Return the N labelled transitions of a condition: the same for all methods of its seed."""
    counts = transition_counts(store.demonstrations)
    rows = _labelled_rows(condition, store)
    return Labelled(
        vectors_ND=vectors_MD[rows],
        actions_NA=read_actions(store.demonstrations)[rows],
        episode_N=np.repeat(np.arange(len(counts)), counts)[rows],
    )


__all__ = ["Job", "make_agent", "prepare", "run_experiment", "run_job"]
