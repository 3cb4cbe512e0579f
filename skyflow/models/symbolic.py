"""A job that is given as a Python function (PARITY K02): called here, once a rank, with symbolic addresses.

The function does not run on the nodes and never travels: what it returns are shell commands, in which the addresses are
variables (`${SKYFLOW_NODE_IP_0}`) that the node fills in. So a plain script goes into the workflow.
"""

from __future__ import annotations

from skyflow.errors import InvalidTaskError
from skyflow.models.document import check_text, describe
from skyflow.models.field import RunFunction

_PRELUDE = """\
_skyflow_rank=0
while read -r _skyflow_ip; do
    export "SKYFLOW_NODE_IP_$_skyflow_rank=$_skyflow_ip"
    _skyflow_rank=$((_skyflow_rank + 1))
done <<<"$SKYPILOT_NODE_IPS"
unset _skyflow_rank _skyflow_ip"""


def address(rank: int) -> str:
    """What stands for the address of a node. Not to be put between single quotes."""
    return f"${{SKYFLOW_NODE_IP_{rank}}}"


def script_of(run: RunFunction, num_nodes: int) -> str | None:
    """The script that runs on every node, and does on each what the function said for it.

    Raises:
        InvalidTaskError: the function failed, or returned something else than commands or None.
    """
    addresses = [address(rank) for rank in range(num_nodes)]
    parts = [_call(run, rank, addresses) for rank in range(num_nodes)]
    if not any(parts):
        return None
    cases = [f"{rank})\n{part}\n;;" for rank, part in enumerate(parts) if part]
    return "\n".join([_PRELUDE, 'case "$SKYPILOT_NODE_RANK" in', *cases, "esac"])


def _call(run: RunFunction, rank: int, addresses: list[str]) -> str | None:
    try:
        commands = run(rank, list(addresses))
    except Exception as error:  # the user's own code: whatever it raises, the task is what is wrong
        words = " ".join(str(error).split())
        raise InvalidTaskError(
            f"run, called as a function for rank {rank}, failed: {type(error).__name__}: {words}"
        ) from error
    if commands is not None and not isinstance(commands, str):
        raise InvalidTaskError(
            f"run, called as a function for rank {rank}, must return commands or None, found {describe(commands)}."
        )
    return None if commands is None else check_text(commands, f"run of rank {rank}")
