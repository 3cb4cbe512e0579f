"""Who gets a node in the laboratory, as a pure decision."""

from dataclasses import replace

from skyflow.clouds.local.admission import refusal
from skyflow.clouds.local.folder import NodeSpec
from skyflow.clouds.local.lab import Capacity, LabConfig, Quota, Stockout
from skyflow.models.node import Offer

SPEC = NodeSpec(
    id="a", token="t", deployment="d", cluster="c", uid="u", launch_id="l", rank=0, generation=0, region="east",
    zone="east-1", instance_type="small", use_spot=False, client_key="",
)  # fmt: skip
OFFER = Offer(cloud="local", region="east", zone="east-1", instance_type="small", cpus=1, memory=2, price=0)


def ask(lab: LabConfig, *existing: NodeSpec, struck: dict[str, int] | None = None) -> tuple[str, str] | None:
    refused = refusal(SPEC, lab.limits(OFFER), existing, struck or {})
    return (refused.scope, refused.code) if refused else None


def test_without_rules_everybody_gets_a_node() -> None:
    assert ask(LabConfig(), *[SPEC] * 100) is None


def test_capacity_counts_what_is_there() -> None:
    lab = LabConfig(capacity=[Capacity(zone="east-1", instance_type="small", nodes=1)])
    assert ask(lab) is None
    assert ask(lab, replace(SPEC, instance_type="large"), replace(SPEC, zone="east-2")) is None
    assert ask(lab, SPEC) == ("zone", "InsufficientCapacity")


def test_a_quota_counts_the_region() -> None:
    lab = LabConfig(quotas=[Quota(region="east", nodes=2), Quota(region="west", nodes=0)])
    assert ask(lab, SPEC, replace(SPEC, region="west")) is None
    assert ask(lab, SPEC, replace(SPEC, zone="east-2")) == ("region", "QuotaExceeded")


def test_a_stockout_strikes_as_often_as_it_says() -> None:
    lab = LabConfig(stockouts=[Stockout(region="east", count=2, id="first")])
    (limit,) = lab.limits(OFFER)
    assert ask(lab, struck={limit.key: 1}) == ("region", "Stockout")
    assert ask(lab, struck={limit.key: 2}) is None
    (renewed,) = LabConfig(stockouts=[Stockout(region="east", count=2, id="second")]).limits(OFFER)
    assert renewed.key != limit.key


def test_a_rule_for_spot_leaves_on_demand_alone() -> None:
    assert ask(LabConfig(stockouts=[Stockout(use_spot=True)])) is None
    assert ask(LabConfig(stockouts=[Stockout(use_spot=False)])) == ("zone", "Stockout")
