"""AdoptWorkflow: takes over the clusters of a namespace whose database is lost, with what the store and clouds know."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from skyflow.errors import SkyflowError, StoreError
    from skyflow.models.adoption import Adoption, AdoptRequest, Known, LifeRef, decide, lost, search
    from skyflow.models.calls import ClosingCall, CloudCalls, LedgerCalls, LifeCalls, NodeSearch
    from skyflow.models.node import TaggedNode
    from skyflow.models.operation import Place
    from skyflow.workflows.call import call

READ_SECONDS = 60.0
"""How long the store is tried to be read."""

ASK_SECONDS = 30.0
"""How long a cloud has to say which nodes there are."""


@workflow.defn(failure_exception_types=[SkyflowError])
class AdoptWorkflow:
    """Looks for lost clusters; starts the workflow of each that has nodes, closes the books of those that have none.

    It may be done twice, or by two at once: a cluster has one workflow, by its name.
    """

    @workflow.run
    async def run(self, request: Any) -> dict[str, Any]:
        asked = AdoptRequest.parse(request)
        known = await self._read(asked)
        lives = lost(known, asked)
        places, deployments = search(known, lives, asked)
        answers = await asyncio.gather(*(self._find(place, deployments) for place in places if deployments))
        found = [node for answer in answers for node in answer or []]
        silent = [place for place, answer in zip(places, answers, strict=False) if answer is None]
        adoption = decide(known, lives, found, silent)
        adoption.dryrun = asked.dryrun
        if not asked.dryrun:
            await self._carry_out(adoption)
        return adoption.model_dump(mode="json")

    async def _read(self, asked: AdoptRequest) -> Known:
        try:
            return await call(LifeCalls.list_lives, asked, "which clusters does the store know?", seconds=READ_SECONDS)
        except ActivityError as error:
            raise StoreError(
                f"The worker could not read the store within {READ_SECONDS:g} s. Nothing was done; its log says why."
            ) from error

    async def _find(self, place: Place, deployments: list[str]) -> list[TaggedNode] | None:
        """The nodes there; None if the cloud does not say."""
        wanted = NodeSearch(cloud=place.cloud, host=place.host, deployments=deployments)
        summary = f"which nodes are there in {place.cloud}?"
        try:
            return await call(
                CloudCalls.find_nodes, wanted, summary, kind="cloud", host=place.host, seconds=ASK_SECONDS
            )
        except (SkyflowError, ActivityError) as error:
            workflow.logger.warning("%s could not be asked: %s", place.host or place.cloud, error)
            return None

    async def _carry_out(self, adoption: Adoption) -> None:
        for life in list(adoption.adopted):
            reference = LifeRef(cluster=life.cluster, uid=life.uid)
            try:
                taken = await call(LifeCalls.adopt_life, reference, f"adopt {life.cluster}")
                life.reason = "" if taken else "it has ended meanwhile, or its name was taken"
            except SkyflowError as error:  # the others are adopted nevertheless
                life.reason = str(error)
            if life.reason:
                adoption.adopted.remove(life)
                adoption.left.append(life)
        for life in adoption.over:
            closing = ClosingCall(cluster=life.cluster, uid=life.uid, ended=workflow.now().timestamp())
            await call(LedgerCalls.close_intervals, closing, f"ledger: nothing of {life.cluster} is up any more")
