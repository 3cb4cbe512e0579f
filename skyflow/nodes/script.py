"""The scripts that units run: what the user wrote, below what it needs to find there.

The user's text is appended as it is. It is not run by `bash -i`, which would change what it means (job control, ignored
SIGTERM, no exit on errors in expansions) and prints two warnings without a terminal. But conda and its like put what
they need into `~/.bashrc`, behind a question whether bash is interactive: that one file is read with the answer yes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

from skyflow.errors import InvalidTaskError
from skyflow.models.accelerator import MEMORY, is_tpu
from skyflow.models.job import Gang

WORKDIR = "~/sky_workdir"

_PROFILE = r"""
exec() { :; }; exit() { :; } # a profile that becomes another shell, or gives up, must not end this one
PS1='$ '
{
    [ -r /etc/profile ] && . /etc/profile
    for _skyflow in ~/.bash_profile ~/.bash_login ~/.profile; do [ -r "$_skyflow" ] && . "$_skyflow" && break; done
    [ -r ~/.bashrc ] && _skyflow=$(<~/.bashrc) && . /dev/stdin <<<"${_skyflow//'$-'/i'$-'}"
} >/dev/null 2>&1
unset -f exec exit; unset _skyflow
""".strip()

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def job_script(
    run: str,
    envs: Mapping[str, str],
    gang: Gang,
    rank: int,
    *,
    task_id: str = "",
    user: str = "",
    num_gpus: int = 0,
    accelerator: str = "",
    devices: Sequence[int] = (),
) -> bytes:
    """The script of a job's run on one node.

    Args:
        run: what the user wrote.
        envs: the user's variables. They cannot change what skyflow itself tells a job.
        gang: the nodes of the job.
        rank: of the node, in the cluster.
        task_id: names the run of the task.
        user: who launched it.
        num_gpus: GPUs a node that the task asked for.
        accelerator: kind of the node's accelerators, if it has any.
        devices: those that are the job's. It sees no others, unless the user's variables say so.
    """
    position, addresses = _peers(gang, rank)
    facts = {
        "NODE_RANK": str(position),
        "NODE_IPS": addresses,
        "NUM_NODES": str(len(gang.nodes)),
        "NUM_GPUS_PER_NODE": str(num_gpus),
        **_shared(gang, task_id, user),
    }
    return _script(run, {**visible_devices(accelerator, devices), **envs}, facts)


def setup_script(
    setup: str, envs: Mapping[str, str], gang: Gang, rank: int, *, task_id: str = "", user: str = "", num_gpus: int = 0
) -> bytes:
    """The script of a setup on one node. Arguments as for `job_script`; the gang is all nodes of the cluster."""
    position, addresses = _peers(gang, rank)
    facts = {
        "SETUP_NODE_RANK": str(position),
        "SETUP_NODE_IPS": addresses,
        "SETUP_NUM_GPUS_PER_NODE": str(num_gpus),
        "NUM_NODES": str(len(gang.nodes)),
        **_shared(gang, task_id, user),
    }
    return _script(setup, envs, facts)


_NEURON_CORES = {"Inferentia": 4, "Inferentia2": 2, "Trainium": 2, "Trainium2": 4}
"""Logical cores of one chip, as the Neuron runtime counts them by default (AWS Neuron documentation)."""
_VISIBLE = {"amd": "HIP_VISIBLE_DEVICES", "intel": "HABANA_VISIBLE_DEVICES"}


def visible_devices(accelerator: str, devices: Sequence[int]) -> dict[str, str]:
    """The variable that keeps a program to these accelerators. Of a TPU, a job always has the node's whole part."""
    if not accelerator or is_tpu(accelerator):
        return {}
    if cores := _NEURON_CORES.get(accelerator):
        visible = [device * cores + core for device in devices for core in range(cores)]
        return {"NEURON_RT_VISIBLE_CORES": ",".join(map(str, visible))}
    maker = next((maker for maker, family in MEMORY.items() if accelerator in family), "nvidia")
    return {_VISIBLE.get(maker, "CUDA_VISIBLE_DEVICES"): ",".join(map(str, devices))}


def _peers(gang: Gang, rank: int) -> tuple[int, str]:
    """The place of a node in its gang, and the addresses of all, in the order of their ranks."""
    nodes = sorted(gang.nodes, key=lambda node: node.rank)
    return [node.rank for node in nodes].index(rank), "\n".join(node.internal_ip for node in nodes)


def _shared(gang: Gang, task_id: str, user: str) -> dict[str, str]:
    where = {"cluster_name": gang.cluster, "cloud": gang.cloud, "region": gang.region, "zone": gang.zone}
    return {"TASK_ID": task_id, "CLUSTER_INFO": json.dumps(where), "USER": user}


def _script(text: str, envs: Mapping[str, str], facts: Mapping[str, str]) -> bytes:
    variables = {"PYTHONUNBUFFERED": "1", **envs}
    for prefix in ("SKYPILOT", "SKYFLOW"):
        variables |= {f"{prefix}_{name}": value for name, value in facts.items()}
    lines = [
        _PROFILE,
        *(_export(name, value) for name, value in variables.items()),
        f"mkdir -p {WORKDIR} && cd {WORKDIR} || exit",
        text,
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _export(name: str, value: str) -> str:
    if not _NAME.fullmatch(name) or "\0" in value:
        raise InvalidTaskError(
            f"envs: {name!r} cannot be a variable of a shell; use letters, digits and '_', and no NUL."
        )
    return f"export {name}={shlex.quote(value)}"
