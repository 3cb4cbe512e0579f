"""What clusters have cost."""

from __future__ import annotations

import pytest

from skyflow.models.node import Offer
from skyflow.models.usage import UpInterval, report

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
