"""Amounts as people write them (PARITY R03, R04, R10)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import InvalidTaskError
from skyflow.models.amount import amount_of, check_cpus, check_disk_size, check_memory

CPUS = "resources.cpus must be a number of CPUs such as 4, or '4+' for at least 4, found"
MEMORY = "resources.memory must be GiB such as 16, '16+' for at least 16, or '512MB', found"
DISK = "resources.disk_size must be whole GB such as 256, or '1TB', found"


@pytest.mark.parametrize(
    ("said", "cpus"),
    [(2, "2"), ("2", "2"), ("2+", "2+"), (0.5, "0.5"), (" 4 + ", "4+"), ("2.0", "2"), (".5", "0.5"), (96.0, "96")],
)
def test_r03_cpus(said: Any, cpus: str) -> None:
    assert check_cpus(said) == cpus and check_cpus(cpus) == cpus


@pytest.mark.parametrize(
    ("said", "memory"),
    [
        (16, "16"), ("16", "16"), ("16+", "16+"), ("16GB+", "16+"), ("512MB", "0.5"), ("512 mb+", "0.5+"),
        ("1TB", "1024"), ("16GiB", "16"), ("2g", "2"), (0.25, "0.25"), ("32Gi+", "32+"), ("1048576KB", "1"),
        ("4x", "4x"), ("2.50x+", "2.5x+"), (" 4x ", "4x"), ("10000000x", "10000000x"),
    ],
)  # fmt: skip
def test_r04_memory(said: Any, memory: str) -> None:
    assert check_memory(said) == memory and check_memory(memory) == memory


@pytest.mark.parametrize(
    ("said", "size"),
    [(256, 256), ("256", 256), ("1TB", 1024), ("512GB", 512), ("2048MB", 2), (100.0, 100), ("1PB", 1 << 20)],
)
def test_r10_disk_size(said: Any, size: int) -> None:
    assert check_disk_size(said) == size


def test_the_number_of_an_amount() -> None:
    assert [amount_of(text) for text in ("4", "4+", "0.5", "4x", "4x+")] == [4, 4, 0.5, 4, 4]


@pytest.mark.parametrize(
    ("check", "said", "message"),
    [
        (check_cpus, "four", f"{CPUS} the string 'four'."),
        (check_cpus, "", f"{CPUS} the string ''."),
        (check_cpus, "2-", f"{CPUS} the string '2-'."),
        (check_cpus, "4-8", f"{CPUS} the string '4-8'."),
        (check_cpus, "4x", f"{CPUS} the string '4x'."),
        (check_cpus, True, f"{CPUS} the value True."),
        (check_cpus, None, f"{CPUS} nothing."),
        (check_cpus, {"4": 1}, f"{CPUS} a mapping."),
        (check_cpus, float("inf"), f"{CPUS} the value inf."),
        (check_cpus, "9" * 400, "resources.cpus must be more than 0"),
        (check_memory, "4xx", f"{MEMORY} the string '4xx'."),
        (check_memory, "16 XB", f"{MEMORY} the string '16 XB'."),
        (check_memory, "0x", "resources.memory must be more than 0, found the string '0x'."),
        (check_memory, "-1", "resources.memory must be more than 0, found the string '-1'."),
        (check_disk_size, "big", f"{DISK} the string 'big'."),
        (check_disk_size, "100+", f"{DISK} the string '100+'."),
        (check_disk_size, 0, "resources.disk_size must be more than 0, found the value 0."),
        (check_disk_size, 0.5, f"{DISK} the value 0.5."),
        (check_disk_size, "100MB", f"{DISK} the string '100MB'."),
        (check_disk_size, [100], f"{DISK} a list."),
    ],
)
def test_wrong_amounts(check: Any, said: Any, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check(said)
    assert str(caught.value).startswith(message)


@given(
    st.text(max_size=12)
    | st.integers()
    | st.floats()
    | st.sampled_from(["1e5", "٣", "1" * 30 + "PB", "0." + "0" * 30 + "1x"])
)
def test_any_amount_is_read_or_refused(said: Any) -> None:
    for check in (check_cpus, check_memory, check_disk_size):
        try:
            once = check(said)
        except InvalidTaskError as error:
            assert "\n" not in str(error)
            continue
        assert check(once) == once
        assert amount_of(str(once)) > 0
