"""Accelerators: their names, their memory, and every way of writing them (PARITY R05, §2.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.accelerator import MEMORY, canonical, is_tpu, parse, show_accelerators


@pytest.mark.parametrize(
    "form", ["V100", "V100:1", "v100", " V100 ", {"V100": 1}, {"V100": None}, "nvidia-tesla-v100:1"]
)
def test_r05_one_of_a_kind_in_every_form(form: Any) -> None:
    assert sky.Resources(accelerators=form) == sky.Resources(accelerators="V100")
    assert sky.Resources(accelerators=form).accelerators == {"V100": 1}


@pytest.mark.parametrize("count", [0.5, "0.5", ".5"])
def test_r05_a_fraction(count: Any) -> None:
    assert sky.Resources(accelerators={"V100": count}).accelerators == {"V100": 0.5}
    assert sky.Resources(accelerators=f"V100:{count}").accelerators == {"V100": 0.5}


def test_r05_a_whole_number_is_an_int() -> None:
    assert repr(sky.Resources(accelerators="A100:8.0").accelerators) == "{'A100': 8}"


@pytest.mark.parametrize("tpu", ["tpu-v2-8", {"tpu-v2-8": 1}, "TPU-V2-8", "tpu_v2_8:1"])
def test_r05_a_tpu_is_a_slice_and_googles(tpu: Any) -> None:
    resources = sky.Resources(accelerators=tpu)
    assert (resources.accelerators, resources.cloud) == ({"tpu-v2-8": 1}, "gcp")


def test_r05_a_tpu_on_kubernetes_stays_there() -> None:
    assert sky.Resources(infra="k8s/ctx", accelerators="tpu-v5e-4").accelerators == {"tpu-v5litepod-4": 1}
    assert sky.Resources(infra="k8s/ctx", accelerators="tpu-v5e-4").cloud == "kubernetes"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("a100", "A100"), ("A100-80gb", "A100-80GB"), ("a100-sxm4-80gb", "A100-80GB"), ("H100-80GB-HBM3", "H100"),
        ("H100-SXM", "H100-SXM"), ("H200-SXM", "H200-SXM"),
        ("nvidia-h200", "H200"), ("tesla t4", "T4"), ("tesla-t4", "T4"), ("NVIDIA_L40S", "L40S"), ("trn1", "Trainium"),
        ("inf2", "Inferentia2"), ("mi300x", "MI300X"), ("gaudi2", "Gaudi2"), ("tpu-v5e-16", "tpu-v5litepod-16"),
        ("Radeon-Imaginary", "Radeon-Imaginary"),
    ],
)  # fmt: skip
def test_canonical_names(said: str, name: str) -> None:
    assert canonical(said) == name
    assert canonical(name) == name


def test_every_known_name_is_its_own() -> None:
    for family in MEMORY.values():
        for name in family:
            assert canonical(name) == canonical(name.lower()) == canonical(name.upper()) == name
            assert not is_tpu(name)
    assert is_tpu("tpu-v6e-8")


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ({"L4": 1, "A100": 8}, [{"L4": 1}, {"A100": 8}]),
        ({"L4:1": None, "A100:8": None}, [{"L4": 1}, {"A100": 8}]),
        ({"L4", "A100:8"}, [{"A100": 8}, {"L4": 1}]),
        (["L4", {"A100": 8}, "L4:1"], [{"L4": 1}, {"A100": 8}]),
        (("H100:8",), [{"H100": 8}]),
        ("16GB", [{"P100": 1}, {"T4": 1}, {"T4g": 1}, {"V100": 1}]),
        ("80gb:2", [{"A100-80GB": 2}, {"H100": 2}, {"H100-MEGA": 2}]),
        ("80GiB", [{"A100-80GB": 1}, {"H100": 1}, {"H100-MEGA": 1}]),
        ("aws:96GB", [{"Trainium2": 1}]),
        ("amd:0.25TB+:8", [{"MI325X": 8}, {"MI355X": 8}]),
        ({"intel:128GB": 2}, [{"Gaudi3": 2}]),
        ({"nvidia:192GB": None}, [{"B200": 1}, {"GB200": 1}]),
    ],
)  # fmt: skip
def test_several(said: Any, kinds: list[dict[str, float]]) -> None:
    assert parse(said) == kinds


def test_at_least_so_much_memory() -> None:
    found = {name for kind in parse("nvidia:80GB+:8") for name in kind}
    assert found == {name for name, memory in MEMORY["nvidia"].items() if memory >= 80}
    assert all(count == 8 for kind in parse("nvidia:80GB+:8") for count in kind.values())
    assert "MI300X" not in {name for kind in parse("80GB+") for name in kind}


def test_yaml_without_spaces_is_a_set() -> None:
    """YAML reads `{L4:1, A100:8}` as names without values; it is what SkyPilot's users write."""
    for text in ("{L4:1, A100:8}", "{L4: 1, A100: 8}", "{L4, A100:8}"):
        task = sky.Task.from_yaml_str(f"resources:\n  accelerators: {text}")
        assert [one.accelerators for one in task.resources] == [{"L4": 1}, {"A100": 8}]
        assert not task.resources.ordered


def test_show() -> None:
    assert show_accelerators({"A100": 8}) == "A100:8"
    assert show_accelerators({"A100": 8, "V100": 0.5}) == "A100:8 or V100:0.5"


FORM = "resources.accelerators must be NAME[:COUNT] such as A100:8, or a mapping or list of them, found"
COUNT = "must be a number greater than 0, found"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("", f"{FORM} the string ''."),
        (8, f"{FORM} the value 8."),
        (True, f"{FORM} the value True."),
        (None, f"{FORM} nothing."),
        ({}, f"{FORM.removesuffix(', found')}, found none."),
        ([], f"{FORM.removesuffix(', found')}, found none."),
        ([8], f"{FORM} the value 8."),
        ([["A100"]], f"{FORM} a list."),
        ({8: "A100"}, f"{FORM} the value 8."),
        ("A$100", f"{FORM} the string 'A$100'."),
        ("A100:", f"resources.accelerators: the count of 'A100' {COUNT} the string ''."),
        ("A100:x", f"resources.accelerators: the count of 'A100' {COUNT} the string 'x'."),
        ("A100:0", f"resources.accelerators: the count of 'A100' {COUNT} the string '0'."),
        ("A100:-1", f"resources.accelerators: the count of 'A100' {COUNT} the string '-1'."),
        ("A100:nan", f"resources.accelerators: the count of 'A100' {COUNT} the string 'nan'."),
        ("A100:1e9", f"resources.accelerators: the count of 'A100' {COUNT} the string '1e9'."),
        ("A100:8:2", f"resources.accelerators: the count of 'A100' {COUNT} the string '8:2'."),
        ({"A100": True}, f"resources.accelerators: the count of 'A100' {COUNT} the value True."),
        ({"A100": [1]}, f"resources.accelerators: the count of 'A100' {COUNT} a list."),
        ("80GB+:x", f"resources.accelerators: the count of '80GB+:x' {COUNT} the string 'x'."),
        (
            "ibm:80GB",
            "resources.accelerators: 'ibm:80GB' names no manufacturer that is known: nvidia, amd, aws, intel.",
        ),
        (
            "amd:80GB",
            "resources.accelerators: there is no accelerator with 80 GB ('amd:80GB'); there are 8, 32, 64, 128, 192, "
            "256, 288 GB. Put + behind it for at least as much.",
        ),
        (
            "2TB",
            "resources.accelerators: there is no accelerator with 2048 GB ('2TB'); the most is 288 GB.",
        ),
        (
            "999GB+",
            "resources.accelerators: there is no accelerator with 999 GB ('999GB+'); the most is 288 GB.",
        ),
    ],
)
def test_wrong_accelerators(said: Any, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        parse(said)
    assert str(caught.value) == message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
        | st.from_regex(r"([a-z]{2,6}:)?[0-9]{1,3}[gmt]i?b\+?(:[0-9.]{1,3})?", fullmatch=True),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=5,
    )
)  # fmt: skip
def test_anything_is_read_or_refused(said: Any) -> None:
    try:
        kinds = parse(said)
    except InvalidTaskError as error:
        assert "\n" not in str(error)
        return
    assert kinds and all(len(kind) == 1 for kind in kinds)
    for kind in kinds:
        assert parse(kind) == [kind] and parse(show_accelerators(kind)) == [kind]
