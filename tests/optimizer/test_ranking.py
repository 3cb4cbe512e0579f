"""The plan of one task against brute force, its pages, and what it says of why and why not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.catalog.table import Catalog, InstanceType, Listing
from skyflow.errors import InvalidTaskError
from skyflow.models.node import Offer
from skyflow.models.plan import PlanRequest, Read, ResourcesRequest, RuledOut
from skyflow.optimizer.funnel import Candidate
from skyflow.optimizer.ranking import best_by_region, rank

AMOUNTS = [1, 2, 4, 8]
PRICES = [0, 0.5, 1]
NODES = [
    InstanceType(name, cpus, memory, arch, accelerator, count)
    for name, cpus, memory, arch, accelerator, count in [
        ("small", 1, 2, "x86_64", None, 0),
        ("middle", 2, 8, "x86_64", None, 0),
        ("large", 8, 8, "x86_64", None, 0),
        ("arm", 8, 4, "arm64", None, 0),
        ("gpu", 4, 8, "x86_64", "T4", 1),
        ("gpus", 8, 8, "x86_64", "T4", 2),
        ("other", 8, 8, "x86_64", "A100", 1),
    ]
]

listing = st.builds(
    Listing,
    type=st.sampled_from(NODES),
    region=st.sampled_from(["east", "west"]),
    zones=st.sampled_from([("a",), ("b",), ("a", "b")]),
    price=st.sampled_from([None, *PRICES]),
    spot_price=st.sampled_from([None, *PRICES]),
)
catalog = st.builds(
    Catalog,
    cloud=st.sampled_from(["here", "there"]),
    listings=st.lists(listing, max_size=8, unique_by=lambda one: (one.type.name, one.region)),
    host=st.sampled_from([None, None, "laptop"]),
    zone_names=st.sampled_from([{}, {"a": "east-1a"}]),
    lacks=st.sampled_from([frozenset(), frozenset({"OPEN_PORTS"})]),
)
catalogs = st.lists(catalog, max_size=2, unique_by=lambda one: one.cloud)
amount = st.none() | st.builds("{}{}".format, st.sampled_from(AMOUNTS), st.sampled_from(["", "+"]))
wish = st.builds(
    ResourcesRequest,
    cloud=st.sampled_from([None, None, "here", "there"]),
    region=st.sampled_from([None, None, "east", "west"]),
    zone=st.sampled_from([None, None, "a", "b", "east-1a"]),
    instance_type=st.sampled_from([None, None, "small", "gpu", "arm"]),
    cpus=amount,
    memory=amount | st.sampled_from(["1x", "1x+"]),
    accelerators=st.sampled_from([{}, {}, {"T4": 1}, {"T4": 1.5}, {"T4": 2, "A100": 1}, {"A100": 0.5}]),
    use_spot=st.booleans(),
    max_hourly_cost=st.sampled_from([None, None, 0.9, 1.8]),
    arch=st.sampled_from([None, None, "arm64", "x86_64"]),
    features=st.sampled_from([[], [], ["OPEN_PORTS"]]),
)
blocked = st.builds(
    RuledOut,
    cloud=st.sampled_from([None, "here"]),
    region=st.sampled_from([None, "east"]),
    zone=st.sampled_from([None, "a", "b", "east-1a"]),
    instance_type=st.sampled_from([None, None, "gpu"]),
    accelerators=st.sampled_from([None, None, {}, {"T4": 1}]),
    use_spot=st.sampled_from([None, True]),
)
request = st.builds(
    PlanRequest,
    resources=st.lists(wish, min_size=1, max_size=3),
    ordered=st.booleans(),
    num_nodes=st.integers(1, 2),
    blocked=st.lists(blocked, max_size=2),
    clouds=st.sampled_from([None, None, ["here"]]),
    read=st.sampled_from([None, None, Read(cloud="aws", gib=10), Read(cloud="here", gib=10)]),
)


def is_enough(text: str | None, has: float) -> bool:
    if text is None:
        return True
    return has >= int(text[:-1]) if text.endswith("+") else has == int(text)


def is_feasible(wanted: ResourcesRequest, offer: Candidate, plan: PlanRequest, only_hosts: bool) -> bool:
    """The rules once more, as plainly as can be."""
    there, node, place = offer.catalog, offer.listing.type, offer.listing
    if plan.clouds is not None and there.cloud not in plan.clouds:
        return False
    if wanted.cloud not in (None, there.cloud) or wanted.region not in (None, place.region):
        return False
    (zone,) = offer.zones
    if wanted.zone not in (None, zone, there.zone_names.get(zone)):
        return False
    if wanted.instance_type not in (None, node.name) or wanted.use_spot != offer.use_spot:
        return False
    if wanted.cloud is None and there.host is not None and not only_hosts:
        return False
    if set(wanted.features) & there.lacks:
        return False
    if wanted.accelerators:
        count = wanted.accelerators.get(node.accelerator or "")
        if count is None or node.accelerator_count not in (count, math.ceil(count)):
            return False
    elif wanted.instance_type is None and node.accelerator is not None:
        return False
    arch = wanted.arch or (None if wanted.instance_type else "x86_64")
    if arch not in (None, node.arch):
        return False
    if wanted.memory in ("1x", "1x+"):
        fits = node.memory >= node.cpus if wanted.memory.endswith("+") else node.memory == node.cpus
    else:
        fits = is_enough(wanted.memory, node.memory)
    if wanted.cpus is wanted.memory is wanted.instance_type is None and there.host is None:
        fits = node.cpus >= (8 if node.accelerator is None else 4 * node.accelerator_count)
    if not (fits and is_enough(wanted.cpus, node.cpus)):
        return False
    if wanted.max_hourly_cost is not None and offer.price * plan.num_nodes > wanted.max_hourly_cost:
        return False
    node_accelerators = {node.accelerator: node.accelerator_count} if node.accelerator else {}
    return not any(
        rule.cloud in (None, there.cloud)
        and rule.region in (None, place.region)
        and rule.zone in (None, zone, there.zone_names.get(zone))
        and rule.instance_type in (None, node.name)
        and rule.accelerators in (None, node_accelerators)
        and rule.use_spot in (None, offer.use_spot)
        for rule in plan.blocked
    )


def everything(there: list[Catalog]) -> list[Candidate]:
    return [
        Candidate(one, place, (zone,), spot, price)
        for one in there
        for place in one.listings
        for spot, price in ((False, place.price), (True, place.spot_price))
        if price is not None
        for zone in place.zones
    ]


def key(offer: Offer) -> str:
    return offer.model_copy(update={"choice": 0}).model_dump_json()


@given(request, catalogs)
def test_the_plan_is_what_brute_force_finds(plan: PlanRequest, there: list[Catalog]) -> None:
    counted = [one for one in there if plan.clouds is None or one.cloud in plan.clouds]
    only_hosts = all(one.host for one in counted)
    first = {
        key(offer.offer(*offer.zones)): min(fitting)
        for offer in everything(there)
        if (fitting := [i for i, w in enumerate(plan.resources) if is_feasible(w, offer, plan, only_hosts)])
    }
    found = rank(plan, there)
    assert {key(offer): offer.choice for offer in found.offers} == first
    assert found.num_offers == len(found.offers) == len(first)
    for better, worse in zip(found.offers, found.offers[1:], strict=False):
        preference = (better.choice, worse.choice) if plan.ordered else (0, 0)
        assert (preference[0], better.price, better.cpus) <= (preference[1], worse.price, worse.cpus)
    why = found.explanation
    assert bool(why.chosen) == bool(first)
    if not first and any(one.listings for one in counted):
        assert len(why.ruled_out) == len(plan.resources)


@given(request, catalogs, st.integers(1, 5))
def test_pages_together_are_the_plan(plan: PlanRequest, there: list[Catalog], limit: int) -> None:
    assert in_pages(plan, there, limit) == rank(plan, there).offers


def in_pages(plan: PlanRequest, there: list[Catalog], limit: int) -> list[Offer]:
    told: list[Offer] = []
    page = rank(plan.model_copy(update={"limit": limit}), there).offers
    while page:
        assert len(page) <= limit
        told += page
        page = rank(plan.model_copy(update={"limit": limit, "after": told[-1]}), there).offers
    return told


def test_pages_of_zones_that_sets_of_resources_share_between_them() -> None:
    there = [Catalog("here", [Listing(InstanceType("node", 8, 8), "east", ("a", "b", "c"), 1, None)])]
    plan = PlanRequest(resources=[ResourcesRequest(zone="b"), ResourcesRequest(region="east")])
    whole = rank(plan, there).offers
    assert [(offer.zone, offer.choice) for offer in whole] == [("a", 1), ("b", 0), ("c", 1)]
    assert in_pages(plan, there, 1) == whole
    assert best_by_region(plan, there).offers == whole[:1]


def test_what_is_read_counts_in_the_order_and_in_its_pages() -> None:
    """10 GiB cost $1.2 from Google to AWS; $0.5 more an hour and node would cost $1."""
    node = InstanceType("node", 8, 8)
    there = [
        Catalog("aws", [Listing(node, "us-east-1", ("a", "b"), 1, None)]),
        Catalog("gcp", [Listing(node, "us-central1", ("c", "d"), 1.5, None)]),
    ]
    plan = PlanRequest(num_nodes=2, read=Read(cloud="gcp", gib=10))
    assert [offer.zone for offer in rank(plan, there).offers] == ["c", "d", "a", "b"]
    assert in_pages(plan, there, 1) == rank(plan, there).offers
    assert rank(plan, there).explanation.chosen.endswith("of 4 feasible offers, with $0 for moving what it reads")
    assert [offer.zone for offer in rank(PlanRequest(num_nodes=2), there).offers] == ["a", "b", "c", "d"]
    plan.num_nodes = 3
    assert [offer.zone for offer in rank(plan, there).offers] == ["a", "b", "c", "d"]
    assert "with $1.2 for" in rank(plan, there).explanation.chosen


@given(request, catalogs)
def test_the_best_of_each_region(plan: PlanRequest, there: list[Catalog]) -> None:
    whole = rank(plan, there).offers
    if plan.ordered and whole:
        whole = [offer for offer in whole if offer.choice == whole[0].choice]
    expected: dict[tuple[str, str], Offer] = {}
    for offer in whole:
        expected.setdefault((offer.cloud, offer.region), offer)
    found = best_by_region(plan, there)
    assert found.offers == list(expected.values())
    assert found.num_offers == rank(plan, there).num_offers


@given(request, catalogs.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_the_catalogs_does_not_matter(plan: PlanRequest, there: tuple[list[Catalog], ...]) -> None:
    one, other = (rank(plan, some) for some in there)
    assert one.offers == other.offers


def test_the_fastest_and_the_cheapest_of_a_task_with_an_estimate() -> None:
    slow, fast = InstanceType("slow", 8, 8), InstanceType("fast", 16, 16)
    there = [Catalog("here", [Listing(slow, "east", ("a",), 1, None), Listing(fast, "east", ("a",), 3, None)])]

    def hours(candidate: Candidate) -> float:
        return 10 if candidate.listing.type is slow else 2

    assert [o.instance_type for o in rank(PlanRequest(), there).offers] == ["slow", "fast"]
    assert [o.instance_type for o in rank(PlanRequest(), there, "cost", hours).offers] == ["fast", "slow"]
    fastest = rank(PlanRequest(), there, "time", hours)
    assert fastest.offers[0].instance_type == "fast" and "fastest" in fastest.explanation.chosen


def test_of_each_region_the_fastest_and_what_is_cheaper_the_slower_it_is() -> None:
    hours = {"fast": 1.0, "dear": 2.0, "middle": 3.0, "slow": 9.0, "late": 10.0}
    prices = {"fast": 10.0, "dear": 6.0, "middle": 3.0, "slow": 0.5, "late": 0.5}
    there = [Catalog("here", [Listing(InstanceType(name, 8, 8), "east", ("a",), prices[name], None) for name in hours])]

    def estimate(candidate: Candidate) -> float:
        return hours[candidate.listing.type.name]

    found = best_by_region(PlanRequest(), there, "time", estimate).offers
    assert [offer.instance_type for offer in found] == ["fast", "middle", "slow"]
    assert [offer.instance_type for offer in best_by_region(PlanRequest(), there, "cost", estimate).offers] == ["slow"]


def size(name: str, cpus: float, region: str = "east", price: float | None = 1, **node: object) -> Listing:
    return Listing(InstanceType(name, cpus, cpus * 4, **node), region, ("a",), price, None)  # type: ignore[arg-type]


HERE = Catalog("here", [size("small", 2), size("middle", 4), size("large", 8), size("huge", 16)])
THERE = Catalog("there", [size("other", 4), size("v100", 8, "west", 5, accelerator="V100", accelerator_count=4)])


def explain(*there: Catalog, **wanted: object) -> str:
    (words,) = rank(PlanRequest(resources=[ResourcesRequest(**wanted)]), there or (HERE, THERE)).explanation.ruled_out
    return words


def test_a_laptop_is_chosen_only_by_name_or_if_there_is_nothing_else() -> None:
    laptop = Catalog("local", [size("small", 2, price=0)], host="laptop")
    assert {offer.cloud for offer in rank(PlanRequest(), [laptop, HERE]).offers} == {"here"}
    assert {offer.cloud for offer in rank(PlanRequest(), [laptop]).offers} == {"local"}
    by_name = PlanRequest(resources=[ResourcesRequest(cloud="local")])
    assert {offer.cloud for offer in rank(by_name, [laptop, HERE]).offers} == {"local"}


def test_what_rules_everything_out_is_said_with_what_there_is_instead() -> None:
    assert explain(cloud="mars") == "nothing has cloud mars, there is: here, there"
    assert explain(cloud="here", cpus="9") == (
        "nothing has 9 CPUs (cloud here), nearest: large (8 CPUs, 32 GiB), middle (4 CPUs, 16 GiB), "
        "small (2 CPUs, 8 GiB)"
    )
    assert "1000+ GiB" in explain(cpus="4+", memory="1000+")
    assert "huge (16 CPUs, 64 GiB)" in explain(cpus="4+", memory="1000+")
    assert explain(cloud="here", use_spot=True) == "nothing has spot nodes (cloud here, enough CPUs by default)"
    assert explain(accelerators={"V100": 3}) == "nothing has V100:3, there is: V100:4"
    assert explain(accelerators={"V10": 4}) == "nothing has V10:4, there is: V100"
    gpus = [size("gpu", 96, accelerator="A100", accelerator_count=count) for count in (16, 2, 1)]
    assert explain(Catalog("here", gpus), accelerators={"A100": 3}).endswith("there is: A100:1, A100:2, A100:16")
    assert explain(accelerators={"V100": 4}, arch="arm64").endswith("arm64 processors (V100:4), there is: x86_64")
    assert explain(instance_type="small", memory="9x+").startswith("nothing has 9+ GiB a CPU (instance type small)")
    assert explain(cpus="4", region="north").endswith("there is: east")
    assert explain(cpus="4", zone="z").endswith("there is: a")
    assert explain(cpus="4", max_hourly_cost=0.5).endswith("cheapest: $1 (middle (4 CPUs, 16 GiB))")
    assert explain(features=["IMAGE_ID"], cloud="x") == "nothing has cloud x, there is: here, there"
    laptop = Catalog("local", [size("small", 2)], host="h", lacks=frozenset({"DOCKER_IMAGE"}))
    assert explain(laptop, features=["DOCKER_IMAGE"]) == "nothing has Docker images (image_id: docker:…)"
    no_ports = Catalog("local", [size("small", 2)], host="h", lacks=frozenset({"OPEN_PORTS"}))
    assert explain(no_ports, features=["OPEN_PORTS"]) == "nothing has open ports"
    blocked = PlanRequest(blocked=[RuledOut(cloud="here"), RuledOut(cloud="there", region="east")])
    (words,) = rank(blocked, [HERE, THERE]).explanation.ruled_out
    assert words.startswith("nothing has a place that is not blocked (")


def test_a_plan_names_other_kinds_and_what_it_ruled_out() -> None:
    found = rank(PlanRequest(resources=[ResourcesRequest(cpus="4+")]), [HERE, THERE])
    assert (found.offers[0].instance_type, found.explanation.chosen) == ("middle", "the cheapest of 4 feasible offers")
    assert [offer.instance_type for offer in found.explanation.next] == ["other", "large", "huge"]
    assert found.explanation.ruled_out == ["no accelerator: 1", "4+ CPUs: 1"]


def test_nearest_offers_are_of_the_family_that_was_asked_for() -> None:
    there = Catalog("aws", [size("p4d.24xlarge", 96), size("p3.2xlarge", 8), size("t3.nano", 2)])
    found = rank(PlanRequest(resources=[ResourcesRequest(instance_type="p4d.2xlarge")]), [there])
    assert [offer.instance_type for offer in found.explanation.nearest] == ["p4d.24xlarge"]


def test_without_offers_there_is_nothing_to_explain() -> None:
    assert rank(PlanRequest(), []).explanation.ruled_out == []


def test_an_amount_that_is_none() -> None:
    with pytest.raises(InvalidTaskError, match="'lots'"):
        rank(PlanRequest(resources=[ResourcesRequest(cpus="lots")]), [HERE])
