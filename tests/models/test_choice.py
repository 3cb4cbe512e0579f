"""Choices of resources: any_of, ordered, several accelerators (PARITY K11, K12, §2.1)."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidTaskError
from skyflow.models.choice import MOST, Choice, check_resources

A100, L4, CPU = sky.Resources(accelerators="A100"), sky.Resources(accelerators="L4"), sky.Resources(cpus=4)


def read(text: str) -> Choice:
    return sky.Task.from_yaml_str("resources:\n" + text).resources


def test_k11_one_a_dict_a_set_a_list() -> None:
    wanted = sky.Resources(cpus="2+")
    for given in (wanted, {"cpus": "2+"}, {wanted}, [wanted], (wanted,), frozenset([wanted]), Choice([wanted])):
        task = sky.Task().set_resources(given)
        assert task.resources == [wanted] and not task.resources.ordered
        assert sky.Task(resources=given).resources == [wanted]


def test_k11_a_set_is_any_of_them_and_a_list_is_in_order() -> None:
    assert sky.Task().set_resources({A100, L4}).to_yaml_config() == {
        "resources": {"any_of": [{"accelerators": {"A100": 1}}, {"accelerators": {"L4": 1}}]}
    }
    ordered = sky.Task().set_resources([L4, A100]).resources
    assert ordered == [L4, A100] and ordered.ordered
    assert sky.Task().set_resources((L4, A100)).resources.ordered
    assert sky.Task().set_resources([L4, L4]).resources == [L4]


def test_k11_nothing_is_what_leaves_everything_open() -> None:
    assert sky.Task().resources == [sky.Resources()] == sky.Task().set_resources(None).resources == list(Choice())


def test_k11_a_dict_may_be_a_choice() -> None:
    task = sky.Task().set_resources({"cpus": 4, "ordered": [{"infra": "gcp"}, {"infra": "aws"}]})
    assert [one.cloud for one in task.resources] == ["gcp", "aws"] and task.resources.ordered


def test_k11_several_accelerators_of_one_set_are_any_of_them() -> None:
    both = sky.Resources(accelerators={"A100": 1, "L4": 1}, cpus=4)
    assert sky.Task(resources=both).resources == Choice([L4.copy(cpus=4), A100.copy(cpus=4)])
    assert set(sky.Task(resources=[both, CPU]).resources) == {A100.copy(cpus=4), L4.copy(cpus=4), CPU}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("V100", "resources must be a Resources or a mapping, or a list or set of Resources, found the string 'V100'."),
        (5, "resources must be a Resources or a mapping, or a list or set of Resources, found the value 5."),
        ([], "resources is empty; give at least one Resources, or None."),
        (set(), "resources is empty; give at least one Resources, or None."),
        ([A100, None], "resources must be a list or set of Resources, found nothing in it."),
        ([{"cpus": 1}], "resources must be a list or set of Resources, found a mapping in it."),
        ({"A100"}, "resources must be a list or set of Resources, found the string 'A100' in it."),
        ([A100.copy(autostop=5), L4], "All resources must have the same autostop config."),
    ],
)
def test_k11_anything_else_is_refused(given: Any, message: str) -> None:
    task = sky.Task(resources=CPU)
    with pytest.raises(ValueError) as caught:
        task.set_resources(given)
    assert type(caught.value) is InvalidTaskError and str(caught.value) == message
    assert task.resources == [CPU]


def test_k12_an_override_is_for_every_set() -> None:
    task = sky.Task().set_resources([A100, L4])
    task.set_resources_override({"use_spot": True, "infra": "gcp"})
    assert task.resources == [A100.copy(use_spot=True, infra="gcp"), L4.copy(use_spot=True, infra="gcp")]
    assert task.resources.ordered
    task.set_resources_override({"infra": "aws/us-east-1"})
    assert [one.cloud for one in task.resources] == ["aws", "aws"]


@pytest.mark.parametrize("name", ["accelerators", "gpus"])
def test_k12_accelerators_replace_the_choice_of_them(name: str) -> None:
    task = sky.Task().set_resources({A100.copy(cpus=4), L4.copy(cpus=4)})
    assert task.set_resources_override({name: "V100:2"}).resources == [sky.Resources(accelerators="V100:2", cpus=4)]
    task.set_resources_override({name: ["L4", "T4"]})
    assert [one.accelerators for one in task.resources] == [{"L4": 1}, {"T4": 1}] and task.resources.ordered


def test_k12_nothing_takes_away_what_a_set_says() -> None:
    task = sky.Task().set_resources(sky.Resources(infra="aws/us-east-1", accelerators="A100", ports=80, cpus=4))
    assert task.set_resources_override({"infra": None}).resources[0].infra is None
    task.set_resources_override({"gpus": None, "ports": None})
    assert task.resources == [CPU]


def test_k12_a_wrong_override_changes_nothing() -> None:
    task = sky.Task().set_resources(CPU)
    for wrong in (
        {"cpus": "many"},
        {"any_of": [{}]},
        {"no": 1},
        {"accelerators": "A100:x"},
        {"infra": "aws", "zone": "a"},
    ):
        with pytest.raises(InvalidTaskError):
            task.set_resources_override(wrong)
    assert task.resources == [CPU]


@pytest.mark.parametrize("field", ["any_of", "ordered"])
def test_an_empty_choice_is_none(field: str) -> None:
    assert read(f"  cpus: 4\n  {field}: []") == [CPU]


def test_any_of_is_merged_over_the_rest() -> None:
    choice = read("""\
  cpus: 4+
  use_spot: true
  labels: {team: a, tier: x}
  any_of:
    - infra: aws
    - infra: gcp/us-central1
      cpus: 8
      use_spot: false
      labels: {tier: y}
    - {}
    -
""")
    base = sky.Resources(cpus="4+", use_spot=True, labels={"team": "a", "tier": "x"})
    assert choice == [
        base.copy(infra="aws"),
        base.copy(infra="gcp/us-central1", cpus=8, use_spot=False, labels={"team": "a", "tier": "y"}),
        base,
    ]
    assert not choice.ordered


def test_ordered_keeps_its_order() -> None:
    choice = read("""\
  ordered:
    - {accelerators: A100:8, infra: gcp}
    - {accelerators: A100:8, infra: aws}
    - {gpus: L4:8}
""")
    assert choice.ordered and [one.cloud for one in choice] == ["gcp", "aws", None]
    assert sky.Task.from_yaml_config(sky.Task(resources=choice).to_yaml_config()).resources == choice


@pytest.mark.parametrize(
    ("base", "entry", "place"),
    [
        ("infra: aws/us-east-1", "{}", "aws/us-east-1"),
        ("infra: aws/us-east-1", "{infra: gcp}", "gcp"),
        ("infra: aws/us-east-1", "{infra: '*'}", None),
        ("infra: aws/us-east-1", "{region: us-west-2}", "aws/us-west-2"),
        ("infra: aws", "{zone: us-east-1a}", "aws/*/us-east-1a"),
        ("infra: aws/us-east-1/us-east-1a", "{region: us-west-2}", "aws/us-west-2"),
        ("infra: aws/us-east-1/us-east-1a", "{zone: us-east-1b}", "aws/us-east-1/us-east-1b"),
        ("infra: aws/us-east-1/us-east-1a", "{cloud: gcp}", "gcp"),
        ("infra: k8s/a/b", "{region: c/d}", "kubernetes/c/d"),
        ("cloud: aws", "{region: us-west-2}", "aws/us-west-2"),
        ("cloud: aws", "{infra: gcp}", "gcp"),
        ("region: us-east1", "{cloud: gcp}", "gcp/us-east1"),
    ],
)
def test_an_entry_may_say_the_place_in_another_way(base: str, entry: str, place: str | None) -> None:
    wanted = sky.Resources(infra=place)
    assert read(f"  {base}\n  any_of:\n    - {entry}\n") == [wanted]


@pytest.mark.parametrize("base", ["accelerators", "gpus"])
@pytest.mark.parametrize("entry", ["accelerators", "gpus"])
def test_an_entry_may_say_accelerators_by_the_other_name(base: str, entry: str) -> None:
    choice = read(f"  {base}: A100\n  any_of:\n    - {entry}: L4\n    - use_spot: true\n")
    assert choice == [L4, A100.copy(use_spot=True)]


def test_accelerators_times_any_of() -> None:
    choice = read("  accelerators: {A100, L4}\n  any_of: [{use_spot: true}, {use_spot: false}]\n")
    assert len(choice) == 4
    assert set(choice) == {one.copy(use_spot=spot) for one in (A100, L4) for spot in (True, False)}


def test_a_list_of_accelerators_is_in_order() -> None:
    choice = read("  accelerators: [L4, A100]\n")
    assert choice == [L4, A100] and choice.ordered
    assert not read("  accelerators: [L4]\n").ordered


def test_equal_sets_are_one() -> None:
    assert read("  accelerators: {V100: 1, v100: 1}\n") == [sky.Resources(accelerators="V100")]
    assert read("  any_of: [{cpus: 4}, {cpus: '4'}, {cpus: 4.0}]\n") == [CPU]


def test_the_order_counts_only_where_it_means_something() -> None:
    assert Choice([A100, L4]) == Choice([L4, A100]) != Choice([L4, A100], ordered=True)
    assert Choice([A100, L4], ordered=True) != Choice([L4, A100], ordered=True)
    assert Choice([A100, L4], ordered=True) == [A100, L4] != Choice([A100])
    with pytest.raises(TypeError, match="unhashable"):
        hash(Choice())


def test_e03_copies_are_equal_and_apart() -> None:
    for choice in (Choice([L4, A100], ordered=True), Choice([A100, L4]), Choice()):
        for again in (copy.deepcopy(choice), copy.copy(choice), pickle.loads(pickle.dumps(choice))):
            assert again == choice and again is not choice
            assert type(again) is Choice and again.ordered == choice.ordered


def test_the_order_does_not_depend_on_the_hash_seed() -> None:
    """Every process must plan the same: what a set holds is sorted."""
    program = """
import skyflow as sky
names = ("A100", "L4", "T4", "V100")
resources = {sky.Resources(accelerators=name, use_spot=spot) for name in names for spot in (True, False)}
task = sky.Task(resources=resources).set_resources_override({"cpus": 4})
print([repr(one) for one in task.resources], [sky.Resources(accelerators={"H100", "L4", "T4"}).accelerators])
print([one.to_request() for one in task.resources], sorted(task.get_required_cloud_features()))
"""
    seen = set()
    for seed in ("0", "1", "2", "3"):
        argv = [sys.executable, "-c", program]
        done = subprocess.run(
            argv, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=60, check=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1 and "A100" in seen.pop()


LIST = "must be a list of resources, one entry for each, found"
CPUS = "resources.cpus must be a number of CPUs such as 4, or '4+' for at least 4, found"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  any_of: [{cpus: 1}]\n  ordered: [{cpus: 1}]", "3: resources: give either any_of or ordered, not both."),
        ("  any_of: {cpus: 1}", f"2: resources.any_of {LIST} a mapping."),
        ("  any_of: aws", f"2: resources.any_of {LIST} the string 'aws'."),
        (
            "  any_of:\n    - aws",
            "3: Invalid resources YAML: expected fields such as 'cpus: 4+', found the string 'aws'.",
        ),
        ("  any_of:\n    - cpu: 4", "3: Invalid resources YAML: Instead of 'cpu', did you mean 'cpus'?"),
        ("  any_of:\n    - cpus: 4\n    - any_of: [{cpus: 8}]", "4: resources.any_of: any_of cannot be nested in it."),
        ("  ordered:\n    - any_of: [{cpus: 8}]", "3: resources.ordered: any_of cannot be nested in it."),
        (
            "  ordered:\n    - accelerators: {A100, L4}",
            "3: resources: several accelerators cannot be combined with ordered; write one entry for each.",
        ),
        (
            "  accelerators: [A100, L4]\n  any_of:\n    - use_spot: true",
            "4: resources: several accelerators cannot be combined with any_of; write one entry for each.",
        ),
        (
            "  autostop: 5\n  any_of:\n    - use_spot: true\n    - autostop: 10",
            "3: All resources must have the same autostop config.",
        ),
        (
            "  ordered:\n    - autostop: {idle_minutes: 5, down: true}\n    - autostop: 5",
            "2: All resources must have the same autostop config.",
        ),
        ("  any_of:\n    - cpus: 4\n    - cpus: few", f"4: {CPUS} the string 'few'."),
        ("  cpus: few\n  any_of:\n    - cpus: 4\n    - memory: 4", f"2: {CPUS} the string 'few'."),
        (
            "  infra: aws\n  any_of:\n    - accelerators: tpu-v2-8",
            "4: resources: tpu-v2-8 is only on gcp, not on aws.",
        ),
        (
            "  accelerators: tpu-v2-8\n  any_of:\n    - infra: gcp\n    - infra: aws",
            "2: resources: tpu-v2-8 is only on gcp, not on aws.",
        ),
        (
            "  any_of:\n    - infra: aws\n      region: us-east-1",
            "3: resources: give either infra, or cloud, region and zone, not both.",
        ),
        (
            "  infra: a/b/c/d\n  any_of:\n    - region: us-east-1",
            "2: resources.infra must be cloud[/region[/zone]], with * for any, found the string 'a/b/c/d'.",
        ),
        (
            "  any_of:\n    - accelerators: A100\n      gpus: A100",
            "4: resources: give either accelerators or gpus.",
        ),
        (
            f"  accelerators: {{{', '.join(f'G{n}' for n in range(40))}}}\n  any_of: [{', '.join(['{cpus: 1}'] * 40)}]",
            f"3: resources: more than {MOST} alternatives.",
        ),
    ],
)  # fmt: skip
def test_wrong_choices(text: str, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        read(text)
    assert str(caught.value) == f"line {message}"


def test_one_set_of_resources_is_no_choice() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        sky.Resources.from_yaml_config({"any_of": [{"cpus": 4}]})
    assert str(caught.value) == (
        "resources.any_of is a choice of several resources; it stands in a task, not in one set of resources."
    )
    assert check_resources({"any_of": [{"cpus": 4}]}) == [CPU]
