"""Sampling decisions: facts in, a verdict out, nothing else looked at."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from turntrace import rules as public
from turntrace.record import Verdict
from turntrace.sample.rules import Facts, Rule, SamplingPolicy, is_in_ratio


def facts(trace_id: int = 1, name: str = "x") -> Facts:
    return Facts(trace_id=trace_id, name=name)


def test_a_policy_used_by_itself_keeps_every_trace() -> None:
    policy = SamplingPolicy()
    assert all(policy.decide(facts(number)).keep for number in (0, 1, 2**127, 2**128 - 1))


def test_the_first_rule_that_holds_decides_and_gives_its_reason() -> None:
    policy = SamplingPolicy(
        rules=(
            Rule(reason="chat", holds=lambda f: f.name.startswith("chat")),
            Rule(reason="any", holds=lambda _: True),
        ),
        baseline=0.0,
    )
    assert policy.decide(facts(name="chat:message")) == Verdict(True, "chat", 1.0)
    assert policy.decide(facts(name="other")).reason == "any"


def test_without_a_rule_the_trace_id_decides_with_the_baseline_s_probability() -> None:
    policy = SamplingPolicy(baseline=0.25)
    kept = policy.decide(facts(trace_id=2**56 - 1))
    dropped = policy.decide(facts(trace_id=0))
    assert kept == Verdict(True, "baseline", 0.25)
    assert dropped == Verdict(False, "baseline", 0.25)


def test_a_baseline_of_zero_keeps_nothing_and_of_one_everything() -> None:
    ids = [0, 1, 2**56 - 1, 2**128 - 1]
    assert not any(is_in_ratio(number, 0.0) for number in ids)
    assert all(is_in_ratio(number, 1.0) for number in ids)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5])
def test_the_share_of_random_traces_kept_is_the_ratio_within_3_sigma(ratio: float) -> None:
    source = random.Random(7)
    count = 100_000
    kept = sum(is_in_ratio(source.getrandbits(128), ratio) for _ in range(count))
    sigma = (count * ratio * (1 - ratio)) ** 0.5
    assert abs(kept - count * ratio) < 3 * sigma


def test_a_trace_kept_at_a_low_ratio_is_kept_at_a_higher_one() -> None:
    source = random.Random(8)
    ids = [source.getrandbits(128) for _ in range(2000)]
    low = {number for number in ids if is_in_ratio(number, 0.1)}
    high = {number for number in ids if is_in_ratio(number, 0.3)}
    assert low < high


@pytest.mark.parametrize("baseline", [-0.1, 1.1, float("nan")])
def test_a_baseline_that_is_no_ratio_is_refused(baseline: float) -> None:
    with pytest.raises(ValueError, match=r"from 0\.0 to 1\.0"):
        SamplingPolicy(baseline=baseline)


def test_a_policy_without_a_baseline_takes_the_default_and_keeps_its_rules() -> None:
    rule = Rule(reason="chat", holds=lambda f: f.name == "chat")
    policy = SamplingPolicy(rules=(rule,)).with_default(0.0)
    assert policy == SamplingPolicy(rules=(rule,), baseline=0.0)
    assert not policy.decide(facts(name="other")).keep
    assert policy.decide(facts(name="chat")).keep


def test_a_policy_with_an_init_of_its_own_takes_the_default_and_keeps_what_it_holds() -> None:
    class OfATeam(SamplingPolicy):
        def __init__(self, team: str) -> None:
            super().__init__(rules=(Rule(reason=team, holds=lambda f: f.name == team),))
            self.__dict__["team"] = team

    policy = OfATeam("kitchen").with_default(0.0)
    assert type(policy) is OfATeam
    assert (policy.__dict__, policy.baseline) == ({"team": "kitchen"}, 0.0)
    assert policy.decide(facts(name="kitchen")).keep
    assert not policy.decide(facts(name="bath")).keep


@pytest.mark.parametrize("own", [0.0, 0.5, 1.0])
def test_a_policy_with_a_baseline_of_its_own_keeps_it(own: float) -> None:
    assert SamplingPolicy(baseline=own).with_default(0.25).baseline == own


def test_what_a_policy_was_derived_from_is_still_what_it_is() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Lenient(SamplingPolicy):
        pass

    assert type(Lenient().with_default(0.5)) is Lenient


def test_a_rule_may_ask_for_what_the_root_was_started_with() -> None:
    rule = Rule(reason="ai", holds=lambda f: "ai.model" in f.attributes)
    policy = SamplingPolicy(rules=(rule,), baseline=0.0)
    assert policy.decide(Facts(trace_id=1, name="x", attributes={"ai.model": "m"})).keep
    assert not policy.decide(facts()).keep


def test_the_public_module_for_authors_of_policies_holds_rules_and_facts() -> None:
    assert (public.Rule, public.Facts) == (Rule, Facts)
