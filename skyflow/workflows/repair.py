"""Repair: all nodes of a cluster run again. Those that are stopped are started, those that are gone are made anew."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import ClusterNotUpError, ProvisionError, ResourcesUnavailableError, SkyflowError
    from skyflow.models.calls import CloudCalls, ClusterCalls, NodesCall
    from skyflow.models.failover import TRIES_PER_OFFER
    from skyflow.models.node import GangRef, GangRequest, Node
    from skyflow.models.operation import NodesReport, Reservation
    from skyflow.workflows.call import call, pauses, raise_if_cancelled, to_the_end


class Repair:
    """The nodes of a cluster that this workflow has reserved, at the place where they are: there is no failover.

    The others, their disks and what runs there are left alone. Leaves either all nodes, reported to the cluster, or
    those that there were.

    Args:
        cluster: its name.
        held: the reservation.
        force: also start nodes that should run.
    """

    def __init__(self, cluster: str, held: Reservation, force: bool = False) -> None:
        assert held.offer is not None
        self.cluster = cluster
        self.held = held
        self.offer = held.offer
        self.starts = held.stopped or force
        self.tries = 0
        self.started = False
        """Whether nodes were started since the last report."""

    async def run(self, retry_until_up: bool) -> list[Node]:
        """Returns all nodes of the cluster.

        Raises:
            ResourcesUnavailableError: their place cannot give them now.
            ClusterNotUpError: none of them is left.
        """
        for pause in pauses(self.held.check_seconds):
            try:
                return await self._run()
            except ProvisionError as error:
                raise_if_cancelled()
                if not retry_until_up:
                    raise ResourcesUnavailableError(self._explain(error)) from error
            await self._stop_again()
            await workflow.sleep(timedelta(seconds=pause), summary="until the start is tried again")
        raise AssertionError("unreachable")

    async def _run(self) -> list[Node]:
        wanted = {node.id for node in self.held.nodes if node.rank not in self.held.lost}
        found = await self._find(wanted)
        there = [node for node in found if node.id in wanted]
        if not there:
            await self._report([])
            raise ClusterNotUpError(
                f"Cluster {self.cluster!r} has lost all of its nodes. Take it down, then launch again: "
                f"skyflow down {self.cluster}"
            )
        missing = sorted({node.rank for node in self.held.nodes} - {node.rank for node in there})
        if not missing:
            await self._report(there)
            return there
        if self.held.up:
            await self._report(there, partial=True)
        if not self.held.lost and not self.held.stopped:  # others use the cluster, and might do the same
            raise ClusterNotUpError(
                f"Cluster {self.cluster!r} has lost its node(s) {', '.join(map(str, missing))}, as is known only now. "
                f"Make them anew: skyflow start {self.cluster}"
            )
        strays = [node.id for node in found if node.id not in wanted]
        await self._delete_old([*strays, *(node.id for node in self.held.nodes if node.rank in missing)])
        return await self._make(missing, there)

    async def _find(self, wanted: set[str]) -> list[Node]:
        """The nodes that exist. If some of those that are wanted are stopped, they are started."""
        if not self.starts:
            what = f"START · which nodes are there in {self.offer.place}?"
            statuses = await call(CloudCalls.describe_nodes, self._gang(), what, kind="cloud", host=self.offer.host)
            if not any(status.state == "stopped" and status.node.id in wanted for status in statuses):
                return [status.node for status in statuses if status.state != "gone"]
        what = f"START · the nodes in {self.offer.place}"
        found = await call(CloudCalls.start_nodes, self._gang(), what, kind="cloud", host=self.offer.host)
        self.started = True
        return found

    async def _stop_again(self) -> None:
        """Before a wait, which may be long: nodes that were started of a cluster that counts as stopped."""
        if self.held.stopped and not self.held.up:
            what = f"START · stop what runs in {self.offer.place} meanwhile"
            await call(CloudCalls.stop_nodes, self._gang(), what, kind="cloud", host=self.offer.host)

    async def _delete_old(self, ids: list[str]) -> None:
        """Before a rank has another node: whatever there still is of the one it had, and that nobody else uses."""
        ids = list(dict.fromkeys(ids))
        gang = self._gang().model_copy(update={"ids": ids})
        what = f"START · delete what may be left of {', '.join(ids)}"
        await call(CloudCalls.delete_nodes, gang, what, kind="cloud", host=self.offer.host)

    async def _make(self, missing: list[int], there: list[Node]) -> list[Node]:
        """Makes nodes for these ranks and reports all, or deletes what it has made."""
        reported = False

        async def hand_over(nodes: list[Node]) -> None:
            nonlocal reported
            await self._report(nodes)
            reported = True

        try:
            nodes = sorted([*there, *await self._create(missing)], key=lambda node: node.rank)
            raise_if_cancelled()
            await to_the_end(hand_over(nodes))
        except (SkyflowError, ActivityError, asyncio.CancelledError):
            if not reported:
                await to_the_end(self._delete_made())
            raise
        return nodes

    async def _create(self, missing: list[int]) -> list[Node]:
        self.tries += 1
        request = GangRequest(
            deployment=self.held.deployment,
            cluster=self.cluster,
            uid=self.held.uid,
            launch_id=self._maker(),
            offer=self.offer,
            offer_index=self.tries,
            num_nodes=len(self.held.nodes),
            ranks=missing,
            generation=1 + max(node.generation for node in self.held.nodes),
        )
        what = f"START · node(s) {', '.join(map(str, missing))} anew: {self.offer.instance_type} in {self.offer.place}"
        for tries in range(1, TRIES_PER_OFFER):
            try:
                return await call(CloudCalls.create_nodes, request, what, kind="cloud", host=self.offer.host)
            except ProvisionError as error:
                raise_if_cancelled()
                if error.scope != "retry":
                    raise
            await workflow.sleep(timedelta(seconds=2**tries), summary=f"until {self.offer.place} is tried again")
        return await call(CloudCalls.create_nodes, request, what, kind="cloud", host=self.offer.host)

    async def _report(self, nodes: list[Node], partial: bool = False) -> None:
        report = NodesReport(
            workflow_id=workflow.info().workflow_id,
            uid=self.held.uid,
            nodes=nodes,
            offer=self.offer,
            ports=self.held.ports or [],
            partial=partial,
            started=self.started,
            at=workflow.now().timestamp(),
        )
        call_report = NodesCall(cluster=self.cluster, report=report)
        await call(ClusterCalls.report_nodes, call_report, "START · hand the nodes to the cluster")
        self.started = False

    async def _delete_made(self) -> None:
        gang = self._gang().model_copy(update={"launch_id": self._maker()})
        what = f"START · delete what {self.offer.place} made"
        await call(CloudCalls.delete_nodes, gang, what, kind="cloud", host=self.offer.host)

    def _maker(self) -> str:
        """In the tags of what this makes. Not the workflow's id alone: if somebody used it twice, the nodes that are
        there could have it, too."""
        return f"{workflow.info().workflow_id}/{workflow.info().run_id}"

    def _gang(self) -> GangRef:
        return GangRef(
            deployment=self.held.deployment,
            cluster=self.cluster,
            uid=self.held.uid,
            cloud=self.offer.cloud,
            host=self.offer.host,
        )

    def _explain(self, error: ProvisionError) -> str:
        if self.held.up:
            return (
                f"Cluster {self.cluster!r} stays without its node(s): {error} "
                "The others are there, so that it can have them nowhere else. Wait with --retry-until-up."
            )
        return (
            f"Cluster {self.cluster!r} cannot be started: {error} "
            "Its disks are there, so it can start nowhere else. Wait with --retry-until-up."
        )
