"""OPTIMIZE and PROVISION: the plan, and the walk through it until a place gives the nodes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import ProvisionError, SkyflowError
    from skyflow.models.calls import CloudCalls, ClusterCalls, NodesCall, PlanCalls
    from skyflow.models.failover import TRIES_PER_OFFER, Failover
    from skyflow.models.launch import KEPT_ATTEMPTS, Attempt, LaunchProgress, LaunchRequest, StageProgress, describe
    from skyflow.models.node import GangRef, GangRequest, Node, Offer
    from skyflow.models.operation import NodesReport, Reservation
    from skyflow.models.plan import Plan, infeasible
    from skyflow.models.planning import plan_request
    from skyflow.models.stage import Stage
    from skyflow.models.task import Task
    from skyflow.workflows.call import call, raise_if_cancelled, to_the_end


async def make_plan(task: Task, progress: LaunchProgress, clouds: list[str] | None) -> Plan:
    """OPTIMIZE: feasible offers, best first. Raises ResourcesUnavailableError without history if there is none."""
    stage = StageProgress(name=Stage.OPTIMIZE.name, started=workflow.now().timestamp())
    if not progress.stages:  # a launch that waits for nodes plans again before each round
        progress.stages.append(stage)
    plan = await call(PlanCalls.rank_offers, plan_request(task, clouds), "OPTIMIZE · rank the offers")
    if not plan.offers:
        raise infeasible(plan.explanation)
    stage.ended = workflow.now().timestamp()
    progress.plan, progress.num_offers = plan.offers[:5], max(plan.num_offers, len(plan.offers))
    return plan


FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Between two rounds through all offers, in check intervals: 30 s at first, by default, and 10 minutes in the end.
Capacity that was not there for an hour seldom comes in a minute."""


class Provision:
    """The walk through the offers. Leaves either the whole gang, reported to its cluster, or nothing.

    If it cannot even delete, `may_have_left_nodes` says so: then the cluster's guardian has to.
    """

    def __init__(
        self,
        cluster: str,
        launch_id: str,
        held: Reservation,
        task: Task,
        request: LaunchRequest,
        progress: LaunchProgress,
    ) -> None:
        self.cluster = cluster
        self.launch_id = launch_id
        self.held = held
        self.task = task
        self.clouds = request.clouds
        self.progress = progress
        self.tried = 0
        self.pause = 0.0
        self.may_have_left_nodes = False

    async def run(self, plan: Plan) -> tuple[list[Node], Offer] | None:
        """Tries one offer after the other, and asks for more when all that were told have failed. None if all have."""
        failover = Failover(plan.offers)
        first, self.tried = self.tried, self.tried + len(plan.offers)
        told = len(plan.offers)
        while (found := await self._walk(failover, first)) is None and told < plan.num_offers:
            more = await self._next_page(failover)
            if not more.offers:
                break
            failover.offers += more.offers
            self.tried += len(more.offers)
            told = len(failover.offers)
        return found

    async def _next_page(self, failover: Failover) -> Plan:
        """The offers after those that were tried. Without whole regions and clouds that are out of the question."""
        request = plan_request(self.task, self.clouds)
        request.after = failover.offers[-1]
        request.blocked += [rule for rule in failover.ruled_out if rule.zone is None]
        return await call(PlanCalls.rank_offers, request, "PROVISION · the next offers")

    async def _walk(self, failover: Failover, first: int) -> tuple[list[Node], Offer] | None:
        for index, offer in failover.candidates():
            try:
                self.may_have_left_nodes = True
                nodes = await self._try(first + index, offer)
                await self._report(nodes, offer)
                self.may_have_left_nodes = False
                return nodes, offer
            except ProvisionError as error:
                failover.failed(offer, error)
                await to_the_end(self._delete(offer))
                raise_if_cancelled()
            except (SkyflowError, ActivityError, asyncio.CancelledError):
                await to_the_end(self._delete(offer))  # what this launch made is not wanted any more
                raise
        return None

    def next_pause(self) -> float:
        """How long to wait before the next round, in seconds."""
        check = self.held.check_seconds
        self.pause = min(max(2 * self.pause, FIRST_PAUSE * check), LONGEST_PAUSE * check)
        return self.pause

    async def _try(self, index: int, offer: Offer) -> list[Node]:
        self.progress.num_tried += 1
        for tries in range(1, TRIES_PER_OFFER + 1):
            attempt = Attempt(
                place=offer.place,
                instance_type=offer.instance_type,
                price=offer.price,
                started=workflow.now().timestamp(),
            )
            self.progress.attempts = [*self.progress.attempts, attempt][-KEPT_ATTEMPTS:]
            workflow.set_current_details(describe(self.progress))
            try:
                nodes = await self._create(index, offer)
                attempt.seconds = workflow.now().timestamp() - attempt.started
                return nodes
            except ProvisionError as error:
                attempt.seconds = workflow.now().timestamp() - attempt.started
                attempt.error, attempt.code, attempt.scope = str(error), error.code, error.scope
                raise_if_cancelled()
                if error.scope != "retry" or tries == TRIES_PER_OFFER:
                    raise
            await workflow.sleep(timedelta(seconds=2**tries), summary=f"until {offer.place} is tried again")
        raise AssertionError("unreachable")

    async def _create(self, index: int, offer: Offer) -> list[Node]:
        request = GangRequest(
            deployment=self.held.deployment,
            cluster=self.cluster,
            uid=self.held.uid,
            launch_id=self.launch_id,
            offer=offer,
            offer_index=index,
            num_nodes=self.task.num_nodes,
        )
        return await call(
            CloudCalls.create_nodes,
            request,
            f"PROVISION · {self.task.num_nodes} × {offer.instance_type} in {offer.place}",
            kind="cloud",
            host=offer.host,
        )

    async def _report(self, nodes: list[Node], offer: Offer) -> None:
        ports = list(self.task.resources[offer.choice].ports or ())
        report = NodesReport(
            workflow_id=self.launch_id,
            uid=self.held.uid,
            nodes=nodes,
            offer=offer,
            ports=ports,
            at=workflow.now().timestamp(),
        )
        await call(
            ClusterCalls.report_nodes,
            NodesCall(cluster=self.cluster, report=report),
            "PROVISION · hand the nodes to the cluster",
        )

    async def _delete(self, offer: Offer) -> None:
        gang = GangRef(
            deployment=self.held.deployment,
            cluster=self.cluster,
            uid=self.held.uid,
            cloud=offer.cloud,
            host=offer.host,
            launch_id=self.launch_id,
        )
        await call(
            CloudCalls.delete_nodes, gang, f"PROVISION · delete what {offer.place} made", kind="cloud", host=offer.host
        )
        self.may_have_left_nodes = False
