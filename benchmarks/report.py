"""Renders ``docs/benchmarks.md`` from the rows. A pure function: the same rows give the same page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mdformat

from benchmarks.catalogue import BENCHMARKS, METRICS
from benchmarks.machine import Machine
from benchmarks.row import Row, Samples

_STYLE: Mapping[str, Any] = {"wrap": 120, "plugin": {"tables": {"compact_tables": True}}}
"""As in `.mdformat.toml`, which holds for all other pages."""

_HEAD = """# Benchmarks

Written by `make bench` from `benchmarks/results.json`; edit `benchmarks/report.py`, not this page.

Every ratio compares two things that were timed in turn in one run of one process (A B B A ...), so that whatever else
the machine did fell on both. A ratio is taken in each round and the median of the rounds is published; there are at
least five. `spread` is the distance between the quartiles over the median. Absolute rates hold for the machine that is
named and no other; every row has the command that measures it again, and `--quick` only tries whether it runs.
"""

_BASELINES = """## What is compared with

The plain encoder and the full-window sampler (`benchmarks/baselines/`) are the same networks with the same weights, in
the structure that public reimplementations of Genie share: a projection each for queries, keys and values, sequences
folded into the batch before each attention and unfolded after, mask and positions made anew in every call, whole clips
only, and a sampler that computes the window's 16 frames again at each of its 25 steps. They were written from reading
AdaWorld (`lam/lam/modules`), tinyworlds (`models/st_transformer.py`, `models/dynamics.py`) and 1xgpt
(`genie/st_mask_git.py`, `genie/st_transformer.py`); none of that code is in them. Where the three differ the faster was
taken: attention is PyTorch's fused kernel. `tests/benchmarks` holds that they compute what our networks compute.
"""


_SERVICE = """## What the service costs

Beside the networks, a frame that is labelled through the service is read from HDF5, sent, received and handed to a
lane, and its label is sent back, written to a journal, and copied into the output. Where the CPU time goes, one client
that labels 32 episodes of 128 frames with the default model on two cores of a Xeon that nine other processes shared
(`python scripts/profile_client.py`; the client's shares under cProfile):

| part | ms a frame | share |
| --- | --- | --- |
| server: two lanes (networks and optical flow) | 2.549 | 97.8% of the server |
| server: event loop | 0.049 | 1.9% |
| server: gRPC's and other threads | 0.007 | 0.3% |
| client: writing finished episodes to the journal | 0.040 | 29.9% of the client |
| client: packing and sending | 0.021 | 16.1% |
| client: putting the output together | 0.017 | 12.5% |
| client: reading frames | 0.013 | 9.5% |
| client: waiting for answers and reading them | 0.008 | 5.7% |
| client: opening the data | 0.008 | 5.7% |
| client: hashing the source | 0.007 | 5.4% |
| client: looking at pictures | 0.005 | 3.6% |
| client: anything else (threads, provenance, locks) | 0.015 | 11.5% |

What was mended by such profiles, the newest last: checksums are made of what is written instead of reading it back, and
pictures are sampled by whole rows (the client went from 0.20 to 0.17 ms a frame); an episode of at most 4 MiB of pixels
goes as one message and comes back as one answer, where a stream took three threads of the client, one of which looked
up ten times a second, and an answer a block of 16 frames; frames are put into the message where it stands; labels and
attributes are written by HDF5's own calls, 1.30 ms instead of 2.06 an episode; a source is opened once for all its
episodes. One message against a stream, in turn on one server, four rounds beside ten other processes: 0.134 ms of the
client and 2.45 of the server instead of 0.184 and 2.52, 4.3% less in all.

Where a row misses 0.95, this is what is left: the client's files. Its journal keeps every finished episode whatever
kills the process, as a file of its own that is written, synced, renamed, and copied into the output at the end, while
nothing is left to compute; 32 clients of two episodes each pay for opening, hashing and a journal every 256 frames.
Next would be to write the output while episodes come in, and one append-only journal. Lanes in processes of their own,
or an event loop in one, could win no more than the 2% of the server that are not its lanes, and on two cores not even
those. By the clock a busy machine favours the service, whose threads are more than the two of the `Labeller`;
`cpu_ratio` is what to read there. The rows of `tiny` are of four cores and of the design before all of this.
"""


_STEPS = """## Rollouts with fewer steps

With the shipped `tiny` one MaskGIT step is enough: it loses nothing against 25 that 3 x 8 frames of the sample and two
seeds can show, and neither does any number in between, seeds differing by as much as numbers of steps
([`rollout_at_fixed_quality`](#rollout_at_fixed_quality): PSNR of each, and the times, measured in one run on one
network). Against the full window at 25 steps that is 67 times as fast, of which 12 are the past that is carried along
and the rest fewer steps. PSNR favours means over what could have happened, and `tiny` knows one arm: a model that draws
more may lose more, and there is no distilled or other schedule here to win it back. With CoinRun's networks a frame at
25 steps by the full window is 16.2 of ours in arithmetic and 15.2 by the clock (`rollout_over_full_window`), and
would be 151 at one step by arithmetic. The default model moves the last frame and draws nothing.
"""


def render(rows: Sequence[Row]) -> str:
    """Return the page, Markdown."""
    parts = [_HEAD, _summary(rows), _BASELINES, _SERVICE, _STEPS]
    parts += [_details(row) for row in rows]
    parts.append(_machines(rows))
    return mdformat.text("\n".join(parts), options=_STYLE, extensions={"gfm", "tables"})


def _summary(rows: Sequence[Row]) -> str:
    if not rows:
        return "Nothing has been measured yet.\n"
    lines = ["| figure | value | target | reached |", "| --- | --- | --- | --- |"]
    for row in rows:
        target, reached = _target(row), {True: "yes", False: "**no**", None: ""}[row.reached]
        lines.append(f"| [`{row.name}`](#{row.name}) | {_number(row.value, row.parts.unit)} | {target} | {reached} |")
    there = {row.name for row in rows}
    missing = [name for benchmark in BENCHMARKS if not benchmark.cuda for name in benchmark.names if name not in there]
    if missing:
        lines += ["", f"Not measured yet: {', '.join(f'`{name}`' for name in missing)}."]
    return "\n".join(lines) + "\n"


def _details(row: Row) -> str:
    metric, parts = METRICS[row.name], row.parts
    lines = [f"## {row.name}", "", metric.about, ""]
    if parts.quick:
        lines += ["**Measured with `--quick`: this says that it runs, not how fast.**", ""]
    lines += [
        f"**{_number(row.value, parts.unit)}**" + (f", target {_target(row)}" if parts.target is not None else ""),
        "",
    ]
    lines += ["| part | median | spread | samples |", "| --- | --- | --- | --- |"]
    lines += [_sample_line(name, samples) for name, samples in parts.measured.items()]
    lines += ["", metric.parts, ""]
    if parts.facts:
        lines += ["; ".join(f"{name.replace('_', ' ')} {value}" for name, value in parts.facts.items()) + ".", ""]
    if parts.table:
        titles, *found = parts.table
        lines += [_line(titles), _line(["---"] * len(titles)), *map(_line, found), ""]
    lines += [f"Measured on {parts.date}:", ""] if parts.date else []
    lines += ["```", parts.command, "```", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sample_line(name: str, samples: Samples) -> str:
    median = _number(samples.median, samples.unit)
    return f"| `{name}` | {median} | {samples.spread:.1%} | {len(samples.samples)} |"


def _target(row: Row) -> str:
    p = row.parts
    if p.target is None:
        return ""
    return ("at least " if p.better == "higher" else "at most ") + _number(p.target, p.unit)


def _number(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.3g} x"
    if unit == "FLOP/s":
        return f"{value / 1e9:.4g} GFLOP/s"
    return f"{value:.4g} {unit}"


def _machines(rows: Sequence[Row]) -> str:
    """Return the machines of all rows, each described once, with the load each row began under."""
    lines = ["## Machine", ""]
    by_machine: dict[Machine, list[Row]] = {}
    for row in rows:
        by_machine.setdefault(row.machine.model_copy(update={"load": 0.0}), []).append(row)
    for machine, theirs in by_machine.items():
        gpu = f", {machine.gpu}" if machine.gpu else ""
        lines += [
            f"- {machine.cpu}, {machine.cores} cores ({', '.join(machine.flags)}), {machine.memory_gib:g} GiB{gpu}; "
            f"{machine.system}; Python {machine.python}, torch {machine.torch}, grpcio {machine.grpcio}.",
            "  Processes running as each began: "
            + ", ".join(f"`{row.name}` {row.machine.load:g}" for row in theirs)
            + ".",
        ]
    return "\n".join(lines) + "\n"


__all__ = ["render"]
