"""How a managed job is recovered."""

from __future__ import annotations

import pytest

from skyflow.models.document import Document
from skyflow.models.recovery import OFF, JobRecovery, check_job_recovery

NOWHERE = Document(None)
PATH = ("resources", "job_recovery")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("FAILOVER", JobRecovery("FAILOVER")),
        ("eager_next_region", JobRecovery("EAGER_NEXT_REGION")),
        ("NONE", JobRecovery(OFF)),
        ({}, JobRecovery()),
        ({"strategy": None}, JobRecovery()),
        ({"strategy": "failover", "max_restarts_on_errors": 3}, JobRecovery("FAILOVER", 3)),
        ({"recover_on_exit_codes": 33}, JobRecovery(recover_on_exit_codes=(33,))),
        ({"recover_on_exit_codes": [33, 0]}, JobRecovery(recover_on_exit_codes=(33, 0))),
        ({"strategy": "none", "max_restarts_on_errors": 1}, JobRecovery(OFF, 1)),
    ],
)
def test_job_recovery(value: object, expected: JobRecovery) -> None:
    found = check_job_recovery(NOWHERE, value, PATH)
    assert found == expected
    assert check_job_recovery(NOWHERE, found.to_yaml_config(), PATH) == found


def test_none_switches_it_off() -> None:
    assert not check_job_recovery(NOWHERE, "none", PATH).enabled
    assert check_job_recovery(NOWHERE, "FAILOVER", PATH).enabled
    assert JobRecovery().enabled


@pytest.mark.parametrize(
    "config",
    [
        "none",
        "FAILOVER",
        {"strategy": "EAGER_NEXT_REGION", "max_restarts_on_errors": 3, "recover_on_exit_codes": [33, 34]},
        {"max_restarts_on_errors": 3},
        {"strategy": "FAILOVER", "plugin": {"a": [1]}},
    ],
)
def test_the_same_yaml_comes_back(config: object) -> None:
    assert check_job_recovery(NOWHERE, config, PATH).to_yaml_config() == config
