"""`skyflow catalog` and `skyflow gpus`, as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyflow.catalog.library import load
from skyflow.cli.app import app
from skyflow.errors import SkyflowError, UsageError
from tests.catalog.test_refresh_aws import served, some


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKYFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"


def run(*words: str) -> None:
    app(list(words), standalone_mode=False)


def test_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list")
    out, err = capsys.readouterr()
    assert re.search(r"A100 +1, 2, 4, 8, 16 +40 +aws, gcp +\$3\.673", out)
    assert "tpu" not in out and "K80" not in out
    assert "skyflow gpus list --all" in err


def test_the_laboratory(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "--infra", "local")
    assert capsys.readouterr().err == "There are no accelerators in local.\n"
    run("local", "type", "gpu-box", "--gpus", "A100:8", "--price", "9")
    run("gpus", "list", "--infra", "local")
    assert re.search(r"A100 +8 +\S+ +local +\$9", capsys.readouterr().out)
    run("local", "show", "-o", "json")
    types = json.loads(capsys.readouterr().out)["instance_types"]
    run("catalog", "show", "-o", "json")
    [local] = [one for one in json.loads(capsys.readouterr().out) if one["cloud"] == "local"]
    assert local["instance_types"] == len(types)


def test_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "--all", "-v")
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line[:1].isalpha()]
    assert {"tpu-v5litepod-8", "Trainium2", "P4"} <= set(names)
    assert names.index("V100-32GB") < names.index("P4") < names.index("tpu-v2-8") < names.index("tpu-v2-32")
    assert "REGIONS" in lines[0]


def test_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "A100:8")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == "8 × 40 GiB aws/us-east-2 p4d.24xlarge 96 1152 $21.96 $4.546".split()
    assert lines[3].split() == "8 × 40 GiB gcp/us-central1 a2-highgpu-8g 96 680 $29.39 $13.54".split()
    assert len(lines) == 4


def test_nodes_in_all_regions_of_a_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "H100:1", "--infra", "aws", "--all-regions", "-v")
    out = capsys.readouterr().out
    assert {"aws/us-east-1", "aws/us-west-2"} <= set(out.split())
    assert "gcp" not in out
    assert "x86_64" in out


def test_nodes_of_a_region(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "T4:4", "--infra", "gcp/us-east1", "-o", "json")
    found = json.loads(capsys.readouterr().out)
    assert {(one["cloud"], one["region"], one["count"]) for one in found} == {("gcp", "us-east1", 4)}
    assert {"n1-standard-8", "n1-highmem-96"} <= {one["instance_type"] for one in found}


def test_several_kinds_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "80GB:8")
    out = capsys.readouterr().out
    assert "A100-80GB:8 " in out and "H100:8 " in out and "H200" not in out


def test_show_gpus_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    run("gpus", "list", "L4", "-o", "json")
    first = capsys.readouterr().out
    run("show-gpus", "L4", "-o", "json")
    assert capsys.readouterr().out == first
    assert json.loads(first)[0]["accelerator"] == "L4"


@pytest.mark.parametrize(
    "words", [["gpus", "list"], ["gpus", "list", "L4"], ["gpus", "list", "A100"], ["catalog", "show"]]
)
def test_tables_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "82")
    run(*words)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert len(lines) > 3
    assert max(len(line) for line in lines) <= 82
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gpus", "list", "A1000"], "did you mean A100"),
        (["gpus", "list", "A100:5"], "comes in: 1, 2, 4, 8, 16"),
        (["gpus", "list", "A100", "--all"], "without a name"),
        (["gpus", "list", "--all-regions"], "needs a name"),
        (["gpus", "list", "--infra", "aws/us-east-1/use1-az1"], "leave the zone out"),
        (["gpus", "list", "--infra", "aws/us-esat-1"], "did you mean .*us-east-1"),
        (["gpus", "list", "--infra", "azure"], "no catalog of 'azure'"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    with pytest.raises(SkyflowError, match=message) as raised:
        run(*words)
    assert raised.value.exit_code == 2


def test_an_unknown_name_is_one_line_and_exit_code_2() -> None:
    argv = [sys.executable, "-m", "skyflow.cli.main", "gpus", "list", "A1000"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("skyflow: No catalog has an accelerator 'A1000'; did you mean")
    assert len(done.stderr.splitlines()) == 1


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    run("catalog", "show")
    out, err = capsys.readouterr()
    assert re.search(r"aws +2026-07-20 +[\d,]+ d +209 +25 +80 +came with skyflow", out)
    assert re.search(r"gcp +2026-08-03 +[\d,]+ d +221 +44 +131", out)
    assert "indicative" in err


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run("catalog", "show", "-o", "json")
    found = {one["cloud"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(found) == ["aws", "gcp", "local"]
    assert (found["gcp"]["date"], found["gcp"]["file"], found["gcp"]["instance_types"]) == ("2026-08-03", None, 221)
    assert (found["local"]["date"], found["local"]["age_days"]) == (None, None)


def test_refresh(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path) -> None:
    with served(some(), tmp_path):
        run("catalog", "refresh", "aws")
    assert re.search(
        r"aws: 5 instance types in 2 regions, prices of 20\S+ \(before: 2026-07-20\)\.", capsys.readouterr().err
    )
    run("catalog", "show", "-o", "json")
    aws = json.loads(capsys.readouterr().out)[0]
    assert (aws["file"], aws["instance_types"], aws["source"]) == (
        str(home / "catalog/aws.json"),
        5,
        "AWS's Pricing and EC2 APIs",
    )
    assert aws["age_days"] in (0, 1)
    run("gpus", "list", "A100", "--infra", "aws", "-o", "json")
    assert [one["instance_type"] for one in json.loads(capsys.readouterr().out)] == ["p4d.24xlarge"]


def test_refresh_of_all_that_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path) -> None:
    with served(some(), tmp_path):
        run("catalog", "refresh")
    err = capsys.readouterr().err
    assert "aws: 5 instance types" in err
    assert "gcp: There are no credentials for Google" in err
    assert [file.name for file in (home / "catalog").iterdir()] == ["aws.json"]


def test_refresh_of_one_that_cannot_be_read(home: Path) -> None:
    with pytest.raises(UsageError, match="no credentials for Google"):
        run("catalog", "refresh", "gcp")
    assert not home.exists()


def test_a_damaged_file_is_told_and_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path) -> None:
    (home / "catalog").mkdir(parents=True)
    (home / "catalog/aws.json").write_text("damaged")
    for words in (["gpus", "list"], ["catalog", "show"]):
        with pytest.raises(UsageError, match="skyflow catalog refresh aws"):
            run(*words)
    with served(some(), tmp_path):
        run("catalog", "refresh", "aws")
    assert "before: a file that could not be read" in capsys.readouterr().err
    assert len(load("aws", home / "catalog").listings) > 0
