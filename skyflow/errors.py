"""Every error that skyflow raises, as one tree.

    SkyflowError                          exit code 1
    ├── InvalidTaskError (ValueError)     2   the task, or a value in it, is wrong
    │   └── StorageSpecError              2   a storage of the task contradicts itself
    │       ├── StorageNameError          2   its name is missing or wrong
    │       ├── StorageSourceError        2   its source is missing, wrong or not there
    │       └── StorageModeError          2   its source cannot be had in this mode
    ├── UsageError (ValueError)           2   a flag or argument is wrong
    ├── InvalidClusterNameError (ValueError)  2
    ├── NotSupportedError                 2   a real feature that this version or this cloud does not have
    ├── ClusterDoesNotExist (ValueError)  3
    ├── ClusterNotUpError                 3
    ├── JobDoesNotExist (ValueError)      3
    ├── ClusterOwnerIdentityMismatchError 3   the cluster was made with another identity at its cloud
    ├── CloudUserIdentityError            3   the cloud does not say who we are
    ├── NoCloudAccessError                4   no cloud can be used from here
    ├── ResourcesUnavailableError         4   nothing could be had; `failover_history` says what was tried
    ├── ResourcesMismatchError            4   the cluster is there, but too small for the task
    ├── ClusterChangeError (RuntimeError) 4   the cloud did not stop, or did not delete, the nodes of a cluster
    ├── TemporalUnavailableError          5   the Temporal server, or a worker, does not answer
    ├── EmbeddedServerError               5   the background server of this machine cannot be started
    ├── StoreError                        6   the store cannot be read or written
    │   ├── ObjectAbsentError             6   nothing is stored under this key
    │   └── ObjectDamagedError            6   what is stored there is not what was put there
    ├── CommandError                      100 a command of the user failed (setup, run)
    ├── LaunchCancelledError              103 somebody cancelled it
    ├── ProvisionError                    (internal) one attempt failed; `scope` says what that rules out
    ├── NodeUnreachableError              (internal, retried) the way to a node is down; says nothing about the node
    │   └── HostKeyMismatchError          (internal) somebody answers there with another key than the pinned one
    └── NodeLostError                     (internal) the cloud says that the node is gone

An error's class name is wire format: it travels as the `type` of a Temporal ApplicationError with `details()` beside
it, and `rebuild` makes the same exception from it on the other side. `retryable` says whether trying again can help.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

Scope = Literal["zone", "region", "cloud", "request", "retry"]
"""What a failed attempt rules out: this zone, region, cloud, every place (a bad request), or nothing (try again)."""


class SkyflowError(Exception):
    """Base of all errors. The message is one line for the user: what was wrong, where, what to do next."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def details(self) -> dict[str, Any]:
        """What must travel beside the message, as plain JSON."""
        return {}


class InvalidTaskError(SkyflowError, ValueError):
    exit_code = 2


class StorageSpecError(InvalidTaskError):
    pass


class StorageNameError(StorageSpecError):
    pass


class StorageSourceError(StorageSpecError):
    pass


class StorageModeError(StorageSpecError):
    pass


class UsageError(SkyflowError, ValueError):
    exit_code = 2


class InvalidClusterNameError(SkyflowError, ValueError):
    exit_code = 2


class NotSupportedError(SkyflowError):
    exit_code = 2


class ClusterDoesNotExist(SkyflowError, ValueError):
    exit_code = 3


class ClusterNotUpError(SkyflowError):
    exit_code = 3


class JobDoesNotExist(SkyflowError, ValueError):
    exit_code = 3


class ClusterOwnerIdentityMismatchError(SkyflowError):
    exit_code = 3


class CloudUserIdentityError(SkyflowError):
    exit_code = 3


class NoCloudAccessError(SkyflowError):
    exit_code = 4


class ResourcesUnavailableError(SkyflowError):
    """Nothing could be had. `failover_history` is empty iff no offer was feasible in the first place (PARITY C02)."""

    exit_code = 4

    def __init__(self, message: str, failover_history: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.failover_history: list[dict[str, Any]] = failover_history or []

    def details(self) -> dict[str, Any]:
        return {"failover_history": self.failover_history}


class ResourcesMismatchError(SkyflowError):
    exit_code = 4


class ClusterChangeError(SkyflowError, RuntimeError):
    exit_code = 4


class TemporalUnavailableError(SkyflowError):
    exit_code = 5


class EmbeddedServerError(SkyflowError):
    exit_code = 5


class StoreError(SkyflowError):
    exit_code = 6
    retryable = True


class ObjectAbsentError(StoreError):
    retryable = False


class ObjectDamagedError(StoreError):
    retryable = False


class CommandError(SkyflowError):
    """A command of the user failed: `returncode` is its exit code, `job_id` the job whose log has the output."""

    exit_code = 100

    def __init__(self, message: str, returncode: int = 1, job_id: int | None = None) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.job_id = job_id

    def details(self) -> dict[str, Any]:
        return {"returncode": self.returncode, "job_id": self.job_id}


class LaunchCancelledError(SkyflowError):
    exit_code = 103


class ProvisionError(SkyflowError):
    """One attempt at one offer failed.

    Args:
        message: what the cloud answered, in one line.
        scope: what the answer rules out.
        code: the cloud's own error code, for the failover history.
    """

    def __init__(self, message: str, scope: Scope = "zone", code: str = "") -> None:
        super().__init__(message)
        if scope not in get_args(Scope):
            raise ValueError(f"unknown scope {scope!r}")
        self.scope: Scope = scope
        self.code = code

    def details(self) -> dict[str, Any]:
        return {"scope": self.scope, "code": self.code}


class NodeUnreachableError(SkyflowError):
    retryable = True


class HostKeyMismatchError(NodeUnreachableError):
    retryable = False


class NodeLostError(SkyflowError):
    pass


def _tree(cls: type[SkyflowError]) -> dict[str, type[SkyflowError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


def rebuild(type_name: str | None, message: str, details: dict[str, Any] | None = None) -> SkyflowError:
    """The exception that was raised on the other side of the wire; a plain SkyflowError if its type is unknown here."""
    cls = _tree(SkyflowError).get(type_name or "", SkyflowError)
    try:
        return cls(message, **(details or {}))
    except TypeError:  # a newer version sent details that this one does not know
        return cls(message)
