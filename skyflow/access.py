"""Ways to the nodes, for people and programs beside skyflow: the addresses of ports, and the config of OpenSSH."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyflow.clouds import is_reachable
from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, NotSupportedError, SkyflowError, UsageError
from skyflow.models.port import numbers
from skyflow.ssh.entry import Entry
from skyflow.ssh.folder import SshFolder
from skyflow.store.key import existing_key

if TYPE_CHECKING:
    from skyflow.cluster_client import ClusterClient
    from skyflow.settings import Settings


def ssh_folder(settings: Settings) -> SshFolder:
    """The SSH files of this user."""
    return SshFolder(settings.ssh_dir, Path.home())


async def endpoints(client: ClusterClient, cluster: str, port: int | None) -> dict[int, str]:
    """See Client."""
    await _up(client, cluster)
    access = await client.access(cluster)
    found = {one: f"{access['nodes'][0]['address']}:{one}" for one in numbers(access["ports"])}
    if port is None:
        return found
    if port not in found:
        has = ", ".join(access["ports"]) or "none"
        raise UsageError(f"Cluster {cluster!r} was not launched with port {port}; the ports that it has open: {has}.")
    return {port: found[port]}


async def ssh_config(client: ClusterClient, cluster: str | None) -> list[str]:
    """See Client. Only clusters that are reached otherwise than before are asked."""
    folder = ssh_folder(client.settings)
    known = await asyncio.to_thread(folder.known)
    views = {view["name"]: view for view in await client.status()}
    for name in known.keys() - views.keys():  # the list may lag behind
        views[name] = await client.shown(name) or {}
    if cluster is not None:
        views[cluster] = await _up(client, cluster)
    up = [name for name, view in views.items() if _is_up(view) and is_reachable(view["host"], client.settings)]
    new = [name for name in up if known.get(name) != views[name].get("ways")]
    found = await asyncio.gather(*(_entry(client, name) for name in new), return_exceptions=True)
    for name, one in zip(new, found, strict=True):
        if isinstance(one, BaseException) and (name == cluster or not isinstance(one, SkyflowError)):
            raise one  # another cluster may have gone meanwhile, or not answer now: it is for the next time
    entries = [one for one in found if isinstance(one, Entry)]
    if not entries and not known:
        return []
    gone = {name: ways for name, ways in known.items() if name not in up}
    clashing = await asyncio.to_thread(folder.update, entries, gone)
    return [name for name in new if name in clashing]


async def _entry(client: ClusterClient, cluster: str) -> Entry:
    access = await client.access(cluster)
    if not access["nodes"]:
        raise ClusterDoesNotExist(f"Cluster {cluster!r} does not exist. See: skyflow status")
    key = await existing_key(client.store, cluster, access["uid"])
    return Entry(cluster=cluster, ways=access["ways"], nodes=access["nodes"], key=key.private)


async def _up(client: ClusterClient, cluster: str) -> dict[str, Any]:
    """The cluster, if it is up and can be reached from here."""
    found = await client.status([cluster])
    if not found:
        raise ClusterDoesNotExist(f"Cluster {cluster!r} does not exist. See: skyflow status")
    view = found[0]
    if view["lost"]:
        raise ClusterNotUpError(
            f"Cluster {cluster!r} has lost its node(s) {', '.join(map(str, view['lost']))}. "
            f"Make them anew: skyflow start {cluster}"
        )
    if view["status"] == "STOPPED":
        raise ClusterNotUpError(f"Cluster {cluster!r} is stopped. Start it: skyflow start {cluster}")
    if not _is_up(view):
        raise ClusterNotUpError(f"Cluster {cluster!r} is not up yet: wait for its launch, then try again.")
    if not is_reachable(view["host"], client.settings):
        raise NotSupportedError(
            f"The nodes of cluster {cluster!r} are processes of host {view['host']}; they can be reached only there."
        )
    return view


def _is_up(view: dict[str, Any]) -> bool:
    return view.get("status") == "UP"
