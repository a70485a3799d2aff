from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.catalogue import BENCHMARKS, METRICS, chosen
from benchmarks.machine import Machine, describe_machine
from benchmarks.measured import Measured, make_row
from benchmarks.report import render
from benchmarks.row import Row, Samples, merge_rows, read_rows, write_rows
from benchmarks.timing import interleaved, ratios

MACHINE = Machine(
    cpu="Some CPU",
    cores=4,
    flags=("avx2",),
    memory_gib=16.0,
    system="Linux x86_64",
    python="3.11.7",
    torch="2.13.0",
    grpcio="1.85.1",
    load=0.5,
)


def row(name: str, value: float, quick: bool = False, machine: Machine = MACHINE) -> Row:
    measured = Measured(
        value=value, measured={"ratio": Samples.of([value, value * 1.1], "x")}, facts={"threads": 4}, gpu=machine.gpu
    )
    return make_row(METRICS[name], measured, machine, quick=quick)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30))
def test_median_lies_among_the_samples(values: list[float]) -> None:
    samples = Samples.of(values, "s")
    assert min(samples.samples) <= samples.median <= max(samples.samples)
    assert samples.spread >= 0


def test_spread_is_between_quartiles() -> None:
    samples = Samples.of([1, 2, 3, 4, 5], "s")
    assert (samples.median, samples.spread) == (3, round(2 / 3, 4))


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="got no samples"):
        Samples.of([], "s")


def test_target_is_reached_from_the_better_side() -> None:
    assert row("rollout_over_full_window", 12.0).reached is True
    assert row("rollout_over_full_window", 11.9).reached is False
    assert row("start_to_first_label_s", 5.9).reached is True
    assert row("start_to_first_label_s", 6.1).reached is False
    assert row("robotics_rollout_frames_per_s", 3.0).reached is None


def test_rows_are_written_read_and_merged_in_order(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_rows(path) == []
    old = [row("encoder_over_plain_all", 1.0), row("start_to_first_label_s", 3.0)]
    write_rows(path, old)
    assert read_rows(path) == old
    new = [row("start_to_first_label_s", 2.0), row("grpc_over_inprocess_1", 0.9)]
    merged = merge_rows(read_rows(path), new, list(METRICS))
    assert [(r.name, r.value) for r in merged] == [
        ("grpc_over_inprocess_1", 0.9),
        ("encoder_over_plain_all", 1.0),
        ("start_to_first_label_s", 2.0),
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_rows_that_no_benchmark_gives_are_dropped() -> None:
    gone = row("start_to_first_label_s", 1.0).model_copy(update={"name": "gone"})
    assert merge_rows([gone], [], list(METRICS)) == []


def test_every_entry_exists_and_every_name_is_one_benchmarks() -> None:
    names = [name for b in BENCHMARKS for name in b.names]
    assert len(names) == len(set(names)) == len(METRICS)
    for benchmark in BENCHMARKS:
        module, _, function = benchmark.entry.partition(":")
        assert callable(getattr(import_module(module), function)), benchmark.entry


def test_names_choose_the_benchmarks_that_give_them() -> None:
    assert chosen([]) == list(BENCHMARKS)
    assert [b.names for b in chosen(["server_growth_mb"])] == [("client_growth_mb", "server_growth_mb")]
    with pytest.raises(ValueError, match="no benchmark 'speed'; there are: grpc_over_inprocess_1"):
        chosen(["speed"])


def test_sides_take_turns_and_warm_ups_do_not_count() -> None:
    order: list[str] = []
    clock = iter(range(100))
    taken = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        3,
        warm_ups=1,
        clock=lambda: float(next(clock)),
    )
    assert "".join(order) == "abbaabba"
    assert taken == {"a": [1.0] * 3, "b": [1.0] * 3}
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_page_is_a_function_of_the_rows() -> None:
    rows = [row("rollout_over_full_window", 14.2), row("encoder_over_plain_all", 1.4, quick=True)]
    page = render(rows)
    assert page == render(rows)
    assert "| [`rollout_over_full_window`](#rollout_over_full_window) | 14.2 x | at least 12 x | yes |" in page
    assert "| 1.4 x | at least 1.5 x | **no** |" in page
    assert "python -m benchmarks rollout_over_full_window\n" in page
    assert page.count("Measured with `--quick`") == 1
    for name in ("rollout_over_full_window", "encoder_over_plain_all"):
        assert f"## {name}\n" in page
        assert " ".join(METRICS[name].parts.split()) in " ".join(page.split())


def test_page_describes_each_machine_once() -> None:
    other = MACHINE.model_copy(update={"cpu": "Other CPU", "gpu": "Some GPU"})
    busy = MACHINE.model_copy(update={"load": 3.0})
    page = render(
        [
            row("encoder_over_plain_all", 2.0),
            row("rollout_over_full_window", 13.0, machine=busy),
            row("robotics_rollout_frames_per_s", 2.0, machine=other),
        ]
    )
    assert page.count("- Some CPU, 4 cores (avx2), 16 GiB;") == 1
    assert "`encoder_over_plain_all` 0.5, `rollout_over_full_window` 3." in page
    assert "Other CPU, 4 cores (avx2), 16 GiB, Some GPU;" in page


def test_page_without_rows_says_so() -> None:
    assert "Nothing has been measured yet." in render([])


def test_this_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.torch.startswith("2.")


def test_committed_page_is_that_of_the_committed_results() -> None:
    root = Path(__file__).parents[2]
    rows = read_rows(root / "benchmarks" / "results.json")
    assert (root / "docs" / "benchmarks.md").read_text(encoding="utf-8") == render(rows)
    assert not [r.name for r in rows if r.parts.quick]
