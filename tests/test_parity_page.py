"""docs/parity.md is complete: every row of SkyPilot's interface is there, with a test that exists or a reason."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from skyflow.later import NAMES as NAMES_OF_LATER
from skyflow.models.header import GROUP_FIELDS
from tests.models import test_support, test_yaml_fields

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/parity.md").read_text(encoding="utf-8")

ROWS = [
    *(f"E{number:02}" for number in range(1, 36)),
    *(f"K{number:02}" for number in range(1, 20)),
    *(f"R{number:02}" for number in range(1, 11)),
    *(f"C{number:02}" for number in range(1, 10)),
]
"""launch and exec; Task; Resources; the clusters' API."""

NAMES = ["OptimizeTarget", "Dag", "Dag.from_yaml", "Storage", "exceptions"]

FIELDS = {
    "Task": "name run setup envs num_nodes workdir file_mounts resources secrets managed_secrets service pool config "
    "volumes inputs outputs event_callback api_server_access",
    "Resources": "accelerators gpus accelerator_args infra cloud region zone instance_type cpus memory use_spot "
    "disk_size disk_tier network_tier ports image_id labels max_hourly_cost any_of ordered autostop job_recovery "
    "spot_recovery local_disk priority priority_class hooks volumes",
    "Storage objects in `file_mounts`": "name source store persistent mode type config",
    "Services": "readiness_probe replicas replica_policy load_balancing_policy load_balancer ports tls pool",
    "Files of several documents": "execution primary_tasks termination_delay inter_connection",
}
"""Heading → the fields of SkyPilot's YAML that belong there."""

TABLES = {
    "Task": test_yaml_fields.TASK,
    "Resources": test_yaml_fields.RESOURCES,
    "Storage objects in `file_mounts`": test_yaml_fields.STORAGE,
    "Services": test_yaml_fields.SERVICE,
}
"""Heading → what is read of each field, in a test."""

TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def section(heading: str) -> str:
    """The text below a heading, down to the next one of its level."""
    marks = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of the tables of a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        row for row in rows if row[0] not in ("row", "name", "field", "SkyPilot", "in the task") and "---" not in row[0]
    ]


def rows() -> list[list[str]]:
    return [row for row in table(PAGE) if re.match(r"[A-Z][0-9]{2}\b", row[0])]


def fields_of(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_is_there_once() -> None:
    found = [row for cells in rows() for row in cells[0].split(", ")]
    assert sorted(found) == sorted(ROWS)


def test_every_row_names_its_test_or_says_why_not() -> None:
    for cells in rows():
        assert len(cells) == 3, cells
        assert TEST.search(cells[2]) or cells[1].startswith(("differs: ", "later: ")), cells[0]


@pytest.mark.parametrize("reference", sorted(set(TEST.findall(PAGE))), ids="::".join)
def test_a_test_that_is_named_exists(reference: tuple[str, str]) -> None:
    path, name = reference
    assert (ROOT / path).is_file()
    assert not name or (name.startswith("test_") and name in functions(path))


def test_a_test_that_carries_the_number_of_a_row_is_named_by_it() -> None:
    """A row's own test is not replaced by another one's."""
    for cells in rows():
        names = [name for _, name in TEST.findall(cells[2])]
        numbers = [row.lower() for row in cells[0].split(", ")]
        others = [row.lower() for row in ROWS]
        for name in names:
            carried = [row for row in others if f"_{row}_" in f"{name}_"]
            assert not carried or set(carried) & set(numbers), (cells[0], name)


def test_every_name_that_is_known_and_not_there_is_under_later() -> None:
    names = [name for name in fields_of(section("## Later")) if name not in ("AttributeError", "hasattr")]
    assert sorted(names) == sorted(NAMES_OF_LATER)


def test_every_name_is_there() -> None:
    found = table(section("## Graphs, storage, errors"))
    assert [fields_of(cells[0])[0] for cells in found] == NAMES
    assert all(TEST.search(cells[2]) for cells in found)


@pytest.mark.parametrize("heading", FIELDS)
def test_every_field_is_there_and_read_by_a_test(heading: str) -> None:
    cells = table(section(f"### {heading}"))
    found = [name for row in cells for name in fields_of(row[0])]
    assert sorted(found) == sorted(FIELDS[heading].split())
    assert all(len(row) == 3 and row[1] and row[2] for row in cells)
    if heading in TABLES:
        assert set(found) <= set(TABLES[heading])
    else:
        assert set(GROUP_FIELDS) < set(found)


def test_what_is_refused_at_launch_is_what_the_page_says() -> None:
    [[of_task, of_resources]] = table(section("## Refused at launch"))
    task = {field for config, _ in test_support.REFUSED for field in config if field != "resources"}
    assert set(fields_of(of_task)) == task
    resources = {field for config, _ in test_support.REFUSED for field in config.get("resources", ())} - {"any_of"}
    assert set(fields_of(of_resources)) == resources | {"job_recovery", "hook"}


@pytest.mark.parametrize(("heading", "of"), [("Task", "the task"), ("Resources", "resources")])
def test_the_tables_of_fields_agree_with_that(heading: str, of: str) -> None:
    [cells] = table(section("## Refused at launch"))
    refused = set(fields_of(cells[heading == "Resources"])) - {"docker_image", "hook"}
    told = {name for row in table(section(f"### {heading}")) if "refused" in row[2] for name in fields_of(row[0])}
    assert told - {"spot_recovery"} == refused
