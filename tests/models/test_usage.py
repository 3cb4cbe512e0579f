"""What clusters have cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.models.node import Offer
from skyflow.models.usage import UpInterval, job_report, report

HOUR = 3600.0


def interval(uid: str, rank: int, started: float, ended: float | None, price: float = 2, node: str = "") -> UpInterval:
    offer = Offer(cloud="c", region="r", zone="z", instance_type="t", cpus=1, memory=1, price=price)
    node = node or f"n{rank}"
    return UpInterval(cluster=uid[0], uid=uid, node=node, rank=rank, offer=offer, started=started, ended=ended)


def test_a_life_costs_what_its_nodes_were_up() -> None:
    life = [
        interval("a1", 0, 0, 2 * HOUR),
        interval("a1", 0, 10 * HOUR, None),
        interval("a1", 1, 0, 2 * HOUR),
        interval("a1", 1, 10 * HOUR, 11 * HOUR),
    ]
    [row] = report(life, {"a1": "INIT"}, 12 * HOUR, None)
    assert row["cost"] == pytest.approx(2 * (2 + 2 + 2 + 1))
    assert (row["name"], row["status"], row["num_nodes"], row["duration"], row["hourly"]) == (
        "a",
        "INIT",
        2,
        4 * HOUR,
        2,
    )


def test_each_node_costs_its_own_price() -> None:
    """Of one rank that was replaced by another node."""
    life = [interval("a1", 0, 0, HOUR, price=1), interval("a1", 0, HOUR, 2 * HOUR, price=5, node="other")]
    [row] = report(life, {}, 9 * HOUR, None)
    assert (row["cost"], row["duration"], row["hourly"], row["status"]) == (6, 2 * HOUR, 0, None)


def test_the_latest_is_first_and_the_old_is_left_out() -> None:
    lives = [interval("a1", 0, 0, HOUR), interval("b1", 0, 5 * HOUR, None), interval("a2", 0, 7 * HOUR, 8 * HOUR)]
    assert [row["uid"] for row in report(lives, {}, 10 * HOUR, 2 * HOUR)] == ["a2", "b1"]
    assert [row["uid"] for row in report(lives, {}, 10 * HOUR, None)] == ["a2", "b1", "a1"]


def test_a_clock_that_goes_back_costs_nothing() -> None:
    assert interval("a1", 0, 10, None).cost(5) == 0


def job(number: int, started: float | None, ended: float | None, *ranks: int, status: str = "SUCCEEDED") -> Any:
    times = {"started_at": started, "ended_at": ended}
    return {"id": number, "name": "", "status": status, "num_nodes": len(ranks), "ranks": list(ranks), **times}


def costs(life: list[UpInterval], *jobs: Any, now: float = 10 * HOUR) -> dict[int, float]:
    return {row["id"]: row["cost"] for row in job_report(life, {"a1": jobs}, now, None)}


def test_a_job_costs_what_its_nodes_cost_while_it_ran() -> None:
    life = [interval("a1", 0, 0, None), interval("a1", 1, 0, None, price=4)]
    found = costs(life, job(1, HOUR, 3 * HOUR, 0, 1), job(2, 8 * HOUR, None, 1), job(3, None, HOUR))
    assert found == pytest.approx({1: 2 * 2 + 2 * 4, 2: 2 * 4})


def test_jobs_that_share_a_node_pay_equal_parts() -> None:
    life = [interval("a1", 0, 0, 4 * HOUR)]
    found = costs(life, job(1, 0, 4 * HOUR, 0), job(2, HOUR, 2 * HOUR, 0), job(3, HOUR, 9 * HOUR, 0))
    assert found == pytest.approx({1: 2 * (1 + 1 / 3 + 1 / 2 * 2), 2: 2 / 3, 3: 2 * (1 / 3 + 1 / 2 * 2)})


def test_a_job_does_not_pay_for_a_node_that_was_stopped_or_replaced() -> None:
    life = [interval("a1", 0, 0, HOUR), interval("a1", 0, 5 * HOUR, 6 * HOUR, price=8, node="other")]
    assert costs(life, job(1, 0, 9 * HOUR, 0)) == pytest.approx({1: 2 + 8})


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.sets(st.integers(0, 2))), max_size=8))
def test_jobs_never_cost_more_than_their_cluster(spans: list[tuple[int, int, set[int]]]) -> None:
    life = [interval("a1", rank, 10 * HOUR, [None, 40 * HOUR, 30 * HOUR][rank]) for rank in range(3)]
    jobs = [job(n, first * HOUR, last * HOUR, *ranks) for n, (first, last, ranks) in enumerate(spans)]
    assert sum(costs(life, *jobs, now=60 * HOUR).values()) <= sum(one.cost(60 * HOUR) for one in life) + 1e-6


def test_jobs_of_long_ago_are_left_out_and_the_latest_is_first() -> None:
    life = [interval("a1", 0, 0, None)]
    jobs = [job(1, 0, HOUR, 0), job(2, 2 * HOUR, 7 * HOUR, 0), job(3, 8 * HOUR, None, 0)]
    assert [row["id"] for row in job_report(life, {"a1": jobs}, 9 * HOUR, 5 * HOUR)] == [3, 2]
