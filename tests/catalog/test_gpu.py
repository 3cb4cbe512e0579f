"""Which accelerators there are, and which nodes have them."""

from __future__ import annotations

import pytest

from skyflow.catalog.gpu import COMMON, accelerators, nodes
from skyflow.catalog.library import CLOUDS, load
from skyflow.catalog.table import Catalog, InstanceType, Listing
from skyflow.errors import InvalidTaskError, UsageError


def kind(name: str, count: float, accelerator: str = "A100", memory: float = 40) -> InstanceType:
    return InstanceType(name, 8 * count, 32 * count, "x86_64", accelerator, count, memory)


ONE, TWO, OTHER = kind("one", 1), kind("two", 2), kind("other", 1)
NORTH = Catalog(
    "north",
    [
        Listing(ONE, "n1", ("n1-a", "n1-b"), 3, 2),
        Listing(ONE, "n1", ("n1-c",), 3, 0.5),
        Listing(ONE, "n2", ("n2-a",), 2, 1),
        Listing(TWO, "n2", ("n2-a",), None, 1.5),
        Listing(kind("slice", 1, "tpu-v2-32"), "n1", ("n1-a",), 9, None),
        Listing(kind("small-slice", 1, "tpu-v2-8"), "n1", ("n1-a",), 9, None),
    ],
)
SOUTH = Catalog(
    "south", [Listing(OTHER, "s1", ("s1-a",), 2.5, None), Listing(kind("l4", 1, "L4", 24), "s1", ("s1-a",), 1, 1)]
)
ALL = [NORTH, SOUTH]


def test_kinds_are_told_once_however_many_clouds_have_them() -> None:
    found = {one.name: one for one in accelerators(ALL)}
    a100 = found["A100"]
    assert (a100.counts, a100.memory, a100.clouds) == ((1, 2), 40, ("north", "south"))
    assert (a100.price, a100.spot_price) == (2, 0.5)
    assert a100.regions == ("north/n1", "north/n2", "south/s1")
    assert found["tpu-v2-8"].spot_price is None


def test_kinds_are_sorted_as_people_sort() -> None:
    assert [one.name for one in accelerators(ALL)] == ["A100", "L4", "tpu-v2-8", "tpu-v2-32"]


def test_kinds_of_a_region() -> None:
    assert [(one.name, one.counts) for one in accelerators(ALL, "n2")] == [("A100", (1, 2))]


def test_nodes_where_they_are_cheapest() -> None:
    one, other, two = nodes(ALL, "A100")
    assert (one.instance_type, one.price, one.region, one.zones) == ("one", 2, "n2", ("n2-a",))
    assert (one.spot_price, one.spot_region) == (0.5, "n1")
    assert (other.cloud, other.spot_price, other.spot_region) == ("south", None, None)
    assert (two.count, two.cpus, two.memory, two.accelerator_memory) == (2, 16, 64, 40)


def test_what_is_not_to_be_had_on_demand_is_told_with_its_spot_price() -> None:
    two = nodes(ALL, "A100:2")[0]
    assert (two.price, two.spot_price, two.region) == (None, 1.5, "n2")


def test_nodes_region_by_region() -> None:
    found = [(one.region, one.price, one.spot_price, one.zones) for one in nodes([NORTH], "A100:1", by_region=True)]
    assert found == [("n2", 2, 1, ("n2-a",)), ("n1", 3, 0.5, ("n1-a", "n1-b", "n1-c"))]


def test_nodes_of_a_region() -> None:
    assert [(one.instance_type, one.price) for one in nodes(ALL, "A100", "n1")] == [("one", 3)]


@pytest.mark.parametrize("wanted", ["a100", "A100:1", "nvidia-tesla-a100", " A100 : 1 ", "A100:0.5", "40GB"])
def test_names_are_those_of_tasks(wanted: str) -> None:
    assert nodes(ALL, wanted)[0].instance_type == "one"


def test_by_memory() -> None:
    assert {one.accelerator for one in nodes(ALL, "24GB+")} == {"A100", "L4"}


@pytest.mark.parametrize(
    ("wanted", "region", "message"),
    [
        ("A1000", None, "No catalog has an accelerator 'A1000'; did you mean A100?"),
        ("xyz", None, "No catalog has an accelerator 'xyz'; there is A100, L4, tpu-v2-8, tpu-v2-32."),
        ("H100", None, "No catalog has an accelerator 'H100'"),
        ("A100:3", None, "No node has A100:3; A100 comes in: 1, 2."),
        ("A100", "n3", "There is no region 'n3' in the catalog of north, south; did you mean n"),
        ("L4", "n1", "There is no L4 in n1; see all regions: skyflow gpus list L4 --all-regions"),
    ],
)
def test_what_there_is_not(wanted: str, region: str | None, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        nodes(ALL, wanted, region)
    assert str(raised.value).startswith(message)


def test_what_is_no_accelerator_at_all() -> None:
    with pytest.raises(InvalidTaskError, match="count of"):
        nodes(ALL, "A100:many")


def test_common_kinds_are_in_the_catalogs() -> None:
    assert set(COMMON) <= {one.name for one in accelerators([load(cloud) for cloud in CLOUDS])}


def test_the_real_catalogs() -> None:
    found = nodes([load(cloud) for cloud in CLOUDS], "A100:8")
    assert [(one.instance_type, round(one.price or 0, 2)) for one in found] == [
        ("p4d.24xlarge", 21.96),
        ("a2-highgpu-8g", 29.39),
    ]
    assert nodes([load("gcp")], "T4:1")[0].instance_type == "n1-standard-1"
