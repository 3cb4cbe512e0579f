"""What is kept of clusters, and how a cluster is rebuilt from it."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import RPCError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCStatusCode

from skyflow import clouds
from skyflow.activities.cluster import describe
from skyflow.activities.context import Context
from skyflow.models.adoption import AdoptRequest, Known, KnownLife, LifeRef
from skyflow.models.calls import LifeCalls
from skyflow.models.cluster import ClusterState
from skyflow.models.life import Life, revived
from skyflow.models.name import autostop_workflow_id, cluster_workflow_id, task_queue
from skyflow.models.operation import Place
from skyflow.store import ledger, life, log, spec


class LifeActivities(LifeCalls):
    """Between the store and the clusters' workflows."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._noted = False

    @activity.defn
    async def keep_life(self, cluster: str) -> int:
        """See LifeCalls. The cluster is asked, so that its jobs are not in a history once more."""
        handle = self.context.client.get_workflow_handle(cluster_workflow_id(cluster))
        try:
            only_open = QueryRejectCondition.NOT_OPEN
            state: ClusterState = await handle.query("life", result_type=ClusterState, reject_condition=only_open)
        except WorkflowQueryRejectedError:
            return 0
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return 0
            raise
        if not self._noted:
            await life.note_deployment(self.context.store, self.context.deployment, self.context.client.namespace)
            self._noted = True
        present = Life(owner=self.context.deployment, state=state)
        if not present.is_over():
            await life.keep(self.context.store, present)
        return state.edition

    @activity.defn
    async def list_lives(self, request: AdoptRequest) -> Known:
        """See LifeCalls."""
        store, own = self.context.store, self.context.deployment
        return Known(
            own=own,
            lives=[await self._known(one) for one in await life.lives(store)],
            deployments=sorted(set(await life.deployments(store)) - {own}),
            places=[Place(cloud=cloud.name, host=cloud.host) for cloud in await clouds.enabled(self.context.settings)],
        )

    @activity.defn
    async def adopt_life(self, ref: LifeRef) -> bool:
        """See LifeCalls. Its workflow first, then whose it is now: in between, a second try finds the workflow."""
        store, settings = self.context.store, self.context.settings
        known = await life.read(store, ref.cluster, ref.uid)
        if known is None:
            return False
        open_intervals = await ledger.open_intervals(store, ref.cluster, ref.uid)
        seen = [*await spec.job_ids(store, ref.cluster, ref.uid), *await log.job_ids(store, ref.cluster, ref.uid)]
        state = revived(known, self.context.deployment, open_intervals, max(seen, default=0))
        state.check_seconds, state.safety_minutes = settings.check_seconds, settings.safety_minutes
        state.search_attributes, state.webhook = self.context.search_attributes, bool(settings.webhooks)
        workflow_id = cluster_workflow_id(ref.cluster)
        try:
            await self.context.client.start_workflow(
                "ClusterWorkflow",
                state,
                id=workflow_id,
                task_queue=task_queue("quick"),
                memo={"cluster": state.view()},
                static_summary=f"cluster {ref.cluster}, adopted",
            )
        except WorkflowAlreadyStartedError:
            _, memo = await describe(self.context.client, workflow_id)
            if memo.get("cluster", {}).get("uid") != ref.uid:
                return False
        await life.keep(store, Life(owner=self.context.deployment, state=state))
        return True

    async def _known(self, one: Life) -> KnownLife:
        state, client = one.state, self.context.client
        status, memo = await describe(client, cluster_workflow_id(state.name))
        guard, _ = await describe(client, autostop_workflow_id(state.name, state.uid))
        offer = state.offer
        return KnownLife(
            cluster=state.name,
            uid=state.uid,
            owner=one.owner,
            deployment=state.deployment,
            places=state.places,
            place=offer.place if offer else "",
            instance_type=offer.instance_type if offer else "",
            price=offer.price if offer else 0,
            jobs=len(state.active_jobs()),
            here=memo.get("cluster", {}).get("uid", "unknown") if status == "RUNNING" else "",
            guarded=guard == "RUNNING",
        )
