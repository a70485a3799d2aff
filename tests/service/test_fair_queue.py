"""Whose turn it is: clients get equal shares of the device, whatever each has waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from genie_core.inference.shapes import ExactShapes
from genie_service.fair_queue import FairQueue, Operation, Piece

ONE = Operation("one", lambda payloads: payloads, ExactShapes((1,), in_threads=True))
FOUR = Operation("four", lambda payloads: payloads, ExactShapes((1, 2, 4), in_threads=True))


def piece(client: str, operation: Operation = ONE, payload: object = None) -> Piece:
    return Piece(operation, payload, client, lambda *_: None, submitted=0.0)


def serve(queue: FairQueue, cost_s: dict[str, float], lanes: int = 1) -> list[str]:
    """Work everything off; the clients in the order in which they were served."""
    order: list[str] = []
    while (head := queue.head()) is not None:
        taken = queue.take(head.operation, lanes)
        queue.done(taken, sum(cost_s[p.client] for p in taken))
        order += [p.client for p in taken]
    return order


@given(
    work=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=1),
    cost=st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=5, max_size=5),
)
def test_clients_with_work_get_equal_device_time(work: dict[str, int], cost: list[float]) -> None:
    queue = FairQueue()
    cost_s = dict(zip("abcde", cost, strict=True))
    for client, count in work.items():
        for _ in range(count):
            queue.put(piece(client))
    order = serve(queue, cost_s)
    assert len(order) == sum(work.values())
    for client in work:
        others = [c for c in work if c != client]
        while_all_wait = min(_last(order, c) for c in work)
        had = order[:while_all_wait].count(client) * cost_s[client]
        for other in others:
            other_had = order[:while_all_wait].count(other) * cost_s[other]
            assert abs(had - other_had) <= 2 * max(cost_s.values())


def _last(order: list[str], client: str) -> int:
    return len(order) - order[::-1].index(client) - 1


def test_one_with_little_to_do_goes_before_the_queue_of_one_with_much() -> None:
    queue = FairQueue()
    for _ in range(50):
        queue.put(piece("bulk"))
    for _ in range(10):
        queue.done(queue.take(ONE, 1), 1.0)
    queue.put(piece("player"))
    assert serve(queue, {"bulk": 1.0, "player": 1.0}).index("player") <= 1


def test_a_pause_saves_up_no_time() -> None:
    queue = FairQueue()
    for _ in range(40):
        queue.put(piece("steady"))
    queue.put(piece("pausing"))
    for _ in range(20):
        queue.done(queue.take(ONE, 1), 1.0)
    for _ in range(20):
        queue.put(piece("pausing"))
    order = serve(queue, {"steady": 1.0, "pausing": 1.0})[:20]
    assert abs(order.count("steady") - order.count("pausing")) <= 2


def test_batches_hold_one_operation_and_take_clients_in_turn() -> None:
    queue = FairQueue()
    for client in ("a", "a", "a", "a", "b"):
        queue.put(piece(client, FOUR))
    queue.put(piece("c", ONE))
    taken = queue.take(FOUR, 1)
    assert {p.operation for p in taken} == {FOUR}
    assert len(taken) == 4
    assert [p.client for p in taken].count("b") == 1
    assert queue.waiting(FOUR) == 1
    assert queue.waiting(ONE) == 1


def test_free_lanes_share_out_what_waits() -> None:
    queue = FairQueue()
    for _ in range(4):
        queue.put(piece("a", FOUR))
    assert len(queue.take(FOUR, lanes=4)) == 1
    assert len(queue.take(FOUR, lanes=3)) == 1
    assert len(queue.take(FOUR, lanes=1)) == 2


def test_a_dropped_piece_is_gone_and_one_that_was_taken_cannot_be_dropped() -> None:
    queue = FairQueue()
    first, second = piece("a"), piece("a")
    queue.put(first)
    queue.put(second)
    assert queue.drop(first)
    assert not queue.drop(first)
    assert queue.take(ONE, 1) == [second]
    assert not queue.drop(second)
    assert len(queue) == 0
    assert queue.head() is None


def test_an_idle_queue_remembers_nobody() -> None:
    queue = FairQueue()
    for n in range(100):
        queue.put(piece(f"client {n}"))
        queue.done(queue.take(ONE, 1), 1.0)
    assert not queue._clients
