"""The registry of clouds, and what a light start depends on."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from skyflow import clouds
from skyflow.clouds.local.lab import LabConfig
from skyflow.errors import NotSupportedError
from skyflow.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"SKYFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)})


def test_an_unknown_cloud_is_named_with_those_that_exist(settings: Settings) -> None:
    with pytest.raises(NotSupportedError, match=r"no cloud 'mars'.*local"):
        clouds.get("mars", settings)


async def test_a_missing_extra_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clouds._CLOUDS, "moon", "a_package_that_is_absent:Moon")
    with pytest.raises(NotSupportedError, match=r"pip install 'skyflow-orchestrator\[moon\]'"):
        clouds.get("moon", settings)
    assert [cloud.name for cloud in await clouds.enabled(settings)] == ["local"]
    assert "skyflow-orchestrator[moon]" in (await clouds.access(settings))["moon"].reason


async def test_a_wrong_laboratory_disables_the_cloud_and_says_where(settings: Settings) -> None:
    settings.local_dir.mkdir(parents=True)
    (settings.local_dir / "config.yaml").write_text("capacity: [{zone: local-a, nodes: many}]\n")
    access = (await clouds.access(settings))["local"]
    assert not access.enabled and "capacity.0.nodes" in access.reason and "\n" not in access.reason


async def test_a_folder_that_cannot_be_made_disables_the_cloud(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings.from_env({"SKYFLOW_HOME": str(tmp_path / "file"), "HOME": str(tmp_path)})
    access = (await clouds.access(settings))["local"]
    assert not access.enabled and access.reason and access.advice


def test_the_host_id_is_stable_and_of_its_folder(settings: Settings, tmp_path: Path) -> None:
    cloud = clouds.get("local", settings)
    assert cloud.host == clouds.get("local", settings).host
    other = Settings.from_env({"SKYFLOW_HOME": str(tmp_path / "other"), "HOME": str(tmp_path)})
    assert cloud.host != clouds.get("local", other).host


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("skyflow.clouds", ("pydantic", "asyncssh", "yaml")),
        ("skyflow.clouds.local.host", ("pydantic", "temporalio", "yaml")),
        ("skyflow.clouds.local.cloud", ("asyncssh", "temporalio")),
        ("skyflow.optimizer", ("asyncssh", "temporalio", "skyflow.clouds")),
    ],
)
def test_nothing_is_imported_before_it_is_needed(imported: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {imported}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_laboratory_is_written_and_read_back(tmp_path: Path) -> None:
    lab = LabConfig.model_validate(
        {
            "regions": {"east": ["east-1"], "west": ["west-1", "west-2"]},
            "instance_types": [{"name": "big", "cpus": 64, "memory": 256, "price": 2.5, "spot_price": None}],
            "capacity": [{"zone": "east-1", "nodes": 3}],
            "stockouts": [{"region": "west", "count": 2}],
            "quotas": [{"region": "east", "nodes": 5}],
            "slow_starts": [{"seconds": 1.5}],
        }
    )
    lab.save(tmp_path / "config.yaml")
    assert LabConfig.load(tmp_path / "config.yaml") == lab
    assert [(one.region, one.zones, one.type.name) for one in lab.listings()] == [
        ("east", ("east-1",), "big"),
        ("west", ("west-1", "west-2"), "big"),
    ]


def test_a_laboratory_has_accelerators_in_name_only() -> None:
    lab = LabConfig.model_validate(
        {"instance_types": [{"name": "g", "cpus": 8, "memory": 9, "accelerators": "a100:8"}]}
    )
    (node,) = {one.type for one in lab.listings()}
    assert (node.accelerator, node.accelerator_count) == ("A100", 8)
    for wrong in ("A100:x", "80GB"):
        with pytest.raises(ValidationError, match="accelerators"):
            LabConfig.model_validate({"instance_types": [{"name": "g", "cpus": 8, "memory": 9, "accelerators": wrong}]})


def test_the_default_laboratory_has_a_choice_of_sizes_in_two_zones() -> None:
    found = LabConfig().listings()
    assert {zone for one in found for zone in one.zones} == {"local-a", "local-b"}
    assert {1, 2, 4, 8} <= {one.type.cpus for one in found}
    assert {2, 4, 8, 16, 32, 64} <= {one.type.memory for one in found}


async def test_clouds_of_which_only_the_prices_are_known_say_so(settings: Settings) -> None:
    access = await clouds.access(settings)
    assert sorted(access) == ["aws", "gcp", "local"]
    assert not access["aws"].enabled and "cannot make nodes there yet" in access["aws"].reason
    assert access["local"].capabilities == ("spot", "stop", "ports")
    enabled = await clouds.enabled(settings)
    assert [catalog.cloud for catalog in clouds.other_catalogs(settings, enabled)] == ["aws", "gcp"]
