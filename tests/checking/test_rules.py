"""Verdicts from numbers alone."""

from __future__ import annotations

import pytest

from genie_core.checking.rules import RULES, judge, verdict_of
from genie_core.evaluation.metrics import Metric, Missing


def metric(value: float) -> Metric:
    return Metric(value=value, ci95=None, n=10, episodes=2)


def test_the_worst_number_decides_and_both_worst_are_named() -> None:
    good = {"moving_transitions": metric(5000), "top_code_share_moving": metric(0.2), "confidence_median": metric(0.2)}
    verdict, decided = verdict_of(judge(good))
    assert verdict == "fit"
    assert len(decided) == 2
    assert not any(one.next for one in decided)
    care = {**good, "confidence_median": metric(0.01)}
    verdict, decided = verdict_of(judge(care))
    assert verdict == "fit with care"
    assert decided[0].name == "confidence_median"
    assert decided[0].next
    stop = {**care, "top_code_share_moving": metric(0.95)}
    verdict, decided = verdict_of(judge(stop))
    assert verdict == "do not use"
    assert [one.name for one in decided] == ["top_code_share_moving", "confidence_median"]


def test_what_only_calls_for_care_never_stops_however_bad() -> None:
    verdict, _ = verdict_of(judge({"confidence_median": metric(-50)}))
    assert verdict == "fit with care"


def test_what_was_not_measured_is_not_judged() -> None:
    judged = judge({"top_code_share_moving": Missing("no"), "static_share": metric(float("nan")), "odd": metric(1)})
    assert judged == []


@pytest.mark.parametrize("name", RULES)
def test_a_rule_goes_from_good_through_care_to_its_worst(name: str) -> None:
    rule = RULES[name]
    step = rule.worst - rule.care
    assert rule.badness(rule.best) == pytest.approx(-1)
    assert rule.badness(rule.worst) == pytest.approx(1)
    assert rule.level(rule.care - 0.01 * step) == "good"
    assert rule.level(rule.care + 0.01 * step) == "care"
    assert rule.level(rule.worst + 0.01 * step) == ("stop" if rule.stops else "care")
