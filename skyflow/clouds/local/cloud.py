"""The `local` cloud as the registry knows it: nodes are processes of this host, reached over SSH on loopback."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict
from typing import Any, ClassVar

from skyflow.catalog.table import Catalog
from skyflow.clouds.local.folder import Folder, NodeRecord, NodeSpec
from skyflow.clouds.local.host_client import ask
from skyflow.clouds.local.lab import LabConfig
from skyflow.clouds.local.power_off import POWER_OFF
from skyflow.clouds.protocol import Capabilities, CloudAccess
from skyflow.errors import NodeUnreachableError, ProvisionError, UsageError
from skyflow.models.feature import CloudFeature
from skyflow.models.node import GangRef, GangRequest, Node, NodeState, NodeStatus, TaggedNode
from skyflow.settings import Settings, user_name

LIST_SECONDS = 30.0
CREATE_SECONDS = 60.0
STOP_SECONDS = 60.0
DELETE_SECONDS = 600.0
"""Homes may be large."""

CAN = {"MULTI_NODE", "SPOT_INSTANCE", "OPEN_PORTS", "STOP", "STOP_SPOT"}
LACKS = frozenset(feature.name for feature in CloudFeature) - CAN
"""Nodes are processes of this machine: its disk, its network, its system."""


class LocalCloud:
    """The nodes of one host and one folder. Safe to make anew for every call."""

    name: ClassVar[str] = "local"
    capabilities: ClassVar[Capabilities] = Capabilities(
        spot=True,
        stop=True,
        ports=True,
        host_bound=True,
        # Where the variable is missing, nothing happens: never the system's own command, which is this machine's.
        power_off=f'eval "${POWER_OFF}"',
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Folder(settings.local_dir)

    @property
    def host(self) -> str:
        """See Cloud."""
        return self._folder.host_id()

    async def check(self) -> CloudAccess:
        """See Cloud."""
        if sys.platform not in ("linux", "darwin"):
            advice = "Use Linux, macOS or WSL."
            return CloudAccess(enabled=False, reason=f"Local nodes do not work on {sys.platform}.", advice=advice)
        try:
            self._folder.create()
            LabConfig.load(self._folder.config)
            return CloudAccess(enabled=True, identity=f"{user_name()}@{self.host}")
        except OSError as error:
            reason = f"{self._folder.path} cannot be written: {error.strerror}."
            return CloudAccess(enabled=False, reason=reason, advice="Point SKYFLOW_HOME at a folder that can be.")
        except UsageError as error:
            return CloudAccess(enabled=False, reason=str(error), advice="Correct that file.")

    def catalog(self) -> Catalog:
        """See Cloud. Raises UsageError if the laboratory's file is wrong."""
        listings = LabConfig.load(self._folder.config).listings()
        return Catalog(cloud=self.name, listings=listings, host=self.host, lacks=LACKS)

    async def create_nodes(self, request: GangRequest) -> list[Node]:
        """See Cloud."""
        offer = request.offer
        if offer.host != self.host:
            raise ProvisionError(f"This is host {self.host}, not {offer.host}.", scope="cloud", code="OtherHost")
        lab = LabConfig.load(self._folder.config)
        if not any(offer.zone in one.zones and one.type.name == offer.instance_type for one in lab.listings()):
            raise ProvisionError(
                f"There is no {offer.instance_type} in zone {offer.zone} any more.", scope="zone", code="UnknownOffer"
            )
        delay = lab.delay(offer)
        question = {
            "op": "create",
            "nodes": [asdict(self._spec(request, rank)) for rank in request.wanted()],
            "limits": [asdict(limit) for limit in lab.limits(offer)],
            "delay": delay,
        }
        try:
            answer = await self._ask(question, CREATE_SECONDS + delay)
        except NodeUnreachableError as error:
            raise ProvisionError(str(error), scope="cloud", code="HostFailed") from error
        if refused := answer.get("refused"):
            raise ProvisionError(refused["message"], scope=refused["scope"], code=refused["code"])
        return [_node(record) for record in answer["nodes"]]

    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        """See Cloud. A node whose server has died is started again first: its disk and its jobs are still there."""
        return [NodeStatus(node=_node(node["record"]), state=node["state"]) for node in await self._list(gang)]

    async def find_nodes(self, deployment: str) -> list[TaggedNode]:
        """See Cloud."""
        answer = await self._ask({"op": "list", "match": {"deployment": deployment}}, LIST_SECONDS)
        return [_tagged(NodeRecord.from_json(node["record"]), node["state"]) for node in answer["nodes"]]

    async def delete_nodes(self, gang: GangRef) -> int:
        """See Cloud. Returns when all processes of the nodes are gone, and their folders."""
        tags = self._tags(gang)
        matches = [tags] if gang.ids is None else [{**tags, "id": node_id} for node_id in gang.ids]
        answers = [await self._ask({"op": "delete", "match": match}, DELETE_SECONDS) for match in matches]
        return sum(int(answer["count"]) for answer in answers)

    async def stop_nodes(self, gang: GangRef) -> int:
        """See Cloud. What runs there is asked to end, and killed after a short grace; `tmp/` is emptied."""
        answer = await self._ask({"op": "stop", "match": self._tags(gang)}, STOP_SECONDS)
        return int(answer["count"])

    async def start_nodes(self, gang: GangRef) -> list[Node]:
        """See Cloud. Addresses and host keys stay. A shortage refuses all of them, and leaves all as they are."""
        lab = LabConfig.load(self._folder.config)
        records = [NodeRecord.from_json(node["record"]) for node in await self._list(gang)]
        delays = {record.id: lab.delay(record) for record in records}
        nodes = [
            {"id": record.id, "limits": [asdict(limit) for limit in lab.limits(record)], "delay": delays[record.id]}
            for record in sorted(records, key=lambda record: (record.rank, record.generation))
        ]
        answer = await self._ask({"op": "start", "nodes": nodes}, CREATE_SECONDS + max(delays.values(), default=0))
        if refused := answer.get("refused"):
            raise ProvisionError(refused["message"], scope="zone", code=refused["code"])
        return [_node(record) for record in answer["nodes"]]

    async def _list(self, gang: GangRef) -> list[dict[str, Any]]:
        answer = await self._ask({"op": "list", "match": self._tags(gang)}, LIST_SECONDS)
        return list(answer["nodes"])

    async def _ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any]:
        answer = await ask(self._settings, question, timeout=timeout)
        if "failed" in answer:
            raise NodeUnreachableError(f"The host process of local nodes could not do it: {answer['failed']}")
        return answer

    def _tags(self, gang: GangRef) -> dict[str, str]:
        if gang.host not in (None, self.host):
            # An empty answer would say that the nodes are gone.
            raise NodeUnreachableError(
                f"The nodes of cluster {gang.cluster!r} are on host {gang.host}; only a worker there can reach them, "
                f"and this is {self.host}."
            )
        tags = {"deployment": gang.deployment, "cluster": gang.cluster, "uid": gang.uid}
        return tags if gang.launch_id is None else {**tags, "launch_id": gang.launch_id}

    def _spec(self, request: GangRequest, rank: int) -> NodeSpec:
        token, offer = request.token(rank), request.offer
        # With the host, so that two folders on one machine never have a node of the same name: it marks processes.
        digest = hashlib.sha256(f"{self.host}/{token}".encode()).hexdigest()
        return NodeSpec(
            id=f"local-{digest[:16]}",
            token=token,
            deployment=request.deployment,
            cluster=request.cluster,
            uid=request.uid,
            launch_id=request.launch_id,
            rank=rank,
            generation=request.generation,
            region=offer.region,
            zone=offer.zone,
            instance_type=offer.instance_type,
            use_spot=offer.use_spot,
            client_key=request.client_key,
        )


def _tagged(record: NodeRecord, state: NodeState) -> TaggedNode:
    return TaggedNode(
        deployment=record.deployment,
        cluster=record.cluster,
        uid=record.uid,
        id=record.id,
        rank=record.rank,
        state=state,
        place=f"local/{record.region}/{record.zone}",
        removal=f"skyflow local preempt {record.id}",
    )


def _node(data: dict[str, Any]) -> Node:
    record = NodeRecord.from_json(data)
    return Node(
        id=record.id,
        rank=record.rank,
        address=record.address,
        port=record.port,
        user=record.user,
        host_key=record.host_key,
        internal_ip=record.address,
        generation=record.generation,
    )
