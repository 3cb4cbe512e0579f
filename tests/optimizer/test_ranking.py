"""The plain ranking against brute force, and what it says when nothing fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.node import Offer
from skyflow.models.plan import PlanRequest, ResourcesRequest
from skyflow.optimizer import rank

AMOUNTS = [1, 2, 4, 8]

offer = st.builds(
    Offer,
    cloud=st.sampled_from(["here", "there"]),
    region=st.sampled_from(["east", "west"]),
    zone=st.sampled_from(["a", "b"]),
    instance_type=st.sampled_from(["small", "large"]),
    cpus=st.sampled_from(AMOUNTS),
    memory=st.sampled_from(AMOUNTS),
    price=st.sampled_from([0, 0.5, 1]),
    use_spot=st.booleans(),
    host=st.sampled_from([None, None, "laptop"]),
)
amount = st.none() | st.builds("{}{}".format, st.sampled_from(AMOUNTS), st.sampled_from(["", "+"]))
wish = st.builds(
    ResourcesRequest,
    cloud=st.sampled_from([None, "here", "there"]),
    region=st.sampled_from([None, None, "east", "west"]),
    zone=st.sampled_from([None, None, "a", "b"]),
    instance_type=st.sampled_from([None, None, "small"]),
    cpus=amount,
    memory=amount,
    use_spot=st.booleans(),
)
blocked = st.tuples(st.sampled_from(["here", "there"]), st.sampled_from([None, "east"]), st.sampled_from([None, "a"]))
request = st.builds(
    PlanRequest, resources=st.lists(wish, min_size=1, max_size=3), blocked=st.lists(blocked, max_size=2)
)


def is_enough(text: str | None, has: float) -> bool:
    if text is None:
        return True
    return has >= int(text[:-1]) if text.endswith("+") else has == int(text)


def is_feasible(wanted: ResourcesRequest, offer: Offer, plan: PlanRequest, only_hosts: bool) -> bool:
    """The rules once more, as plainly as can be."""
    if wanted.cloud not in (None, offer.cloud) or wanted.region not in (None, offer.region):
        return False
    if wanted.zone not in (None, offer.zone) or wanted.instance_type not in (None, offer.instance_type):
        return False
    if wanted.cloud is None and offer.host is not None and not only_hosts:
        return False
    for cloud, region, zone in plan.blocked:
        if cloud == offer.cloud and region in (None, offer.region) and zone in (None, offer.zone):
            return False
    enough = is_enough(wanted.cpus, offer.cpus) and is_enough(wanted.memory, offer.memory)
    return enough and wanted.use_spot == offer.use_spot


def key(offer: Offer) -> str:
    return offer.model_dump_json()


@given(request, st.lists(offer, max_size=12))
def test_the_plan_is_what_brute_force_finds(plan: PlanRequest, offers: list[Offer]) -> None:
    only_hosts = all(offer.host for offer in offers)
    feasible = [o for o in offers if any(is_feasible(wanted, o, plan, only_hosts) for wanted in plan.resources)]
    found = rank(plan, offers)
    assert sorted(map(key, found.offers)) == sorted(map(key, feasible))
    for better, worse in zip(found.offers, found.offers[1:], strict=False):
        assert (better.price, better.cpus, better.memory) <= (worse.price, worse.cpus, worse.memory)
    assert bool(found.ruled_out) == (bool(offers) and not feasible)
    assert len(found.ruled_out) in (0, len(plan.resources))


@given(request, st.lists(offer, max_size=8).flatmap(lambda o: st.tuples(st.just(o), st.permutations(o))))
def test_the_order_of_the_offers_does_not_matter(plan: PlanRequest, offers: tuple[list[Offer], list[Offer]]) -> None:
    one, other = (rank(plan, some) for some in offers)
    assert one == other


def size(name: str, cpus: float, **change: object) -> Offer:
    offer = Offer(cloud="here", region="east", zone="a", instance_type=name, cpus=cpus, memory=cpus * 4, price=0)
    return offer.model_copy(update=change)


def explain(offers: list[Offer], **wanted: object) -> str:
    (words,) = rank(PlanRequest(resources=[ResourcesRequest(**wanted)]), offers).ruled_out
    return words


def test_no_constraint_gives_the_smallest() -> None:
    offers = [size("c", 4), size("b", 2), size("a", 8)]
    assert [o.instance_type for o in rank(PlanRequest(), offers).offers] == ["b", "c", "a"]


def test_a_laptop_is_chosen_only_by_name_or_if_there_is_nothing_else() -> None:
    laptop, cloud = size("a", 2, cloud="local", host="laptop"), size("b", 2, price=9)
    assert rank(PlanRequest(), [laptop, cloud]).offers == [cloud]
    assert rank(PlanRequest(), [laptop]).offers == [laptop]
    by_name = PlanRequest(resources=[ResourcesRequest(cloud="local")])
    assert rank(by_name, [laptop, cloud]).offers == [laptop]


def test_what_rules_everything_out_is_said_with_what_there_is_instead() -> None:
    offers = [size("small", 2), size("middle", 4), size("large", 8), size("huge", 16), size("other", 4, cloud="there")]
    assert explain(offers, cloud="mars") == "nothing has cloud mars, there is: here, there"
    assert explain(offers, cloud="here", cpus="9") == (
        "nothing has cpus 9 (cloud here, on-demand nodes), nearest: large (8 CPUs, 32 GiB), "
        "middle (4 CPUs, 16 GiB), small (2 CPUs, 8 GiB), …"
    )
    assert "memory 1000+" in explain(offers, cpus="4+", memory="1000+")
    assert "huge (16 CPUs, 64 GiB)" in explain(offers, cpus="4+", memory="1000+")
    assert explain(offers, cloud="here", use_spot=True) == "nothing has spot nodes (cloud here)"
    blocked = PlanRequest(blocked=[("here", None, None), ("there", "east", None)])
    (words,) = rank(blocked, offers).ruled_out
    assert words.startswith("nothing has a place that is not blocked (")


def test_without_offers_there_is_nothing_to_explain() -> None:
    assert rank(PlanRequest(), []).ruled_out == []


def test_an_amount_that_is_none() -> None:
    with pytest.raises(InvalidTaskError, match="'lots'"):
        rank(PlanRequest(resources=[ResourcesRequest(cpus="lots")]), [size("a", 1)])
