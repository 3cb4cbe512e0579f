"""Calls to a cloud's API."""

from __future__ import annotations

from temporalio import activity

from skyflow import clouds
from skyflow.activities.cluster import update
from skyflow.activities.context import Context
from skyflow.models.calls import CloudCalls, NodeSearch
from skyflow.models.node import GangRef, GangRequest, Node, NodeStatus, TaggedNode
from skyflow.models.operation import Expect, Place
from skyflow.store.key import client_key


class CloudActivities(CloudCalls):
    """Creates, describes, stops, starts and deletes nodes."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def create_nodes(self, request: GangRequest) -> list[Node]:
        """See CloudCalls. Before the first node exists, its cluster knows where to look for it, and its key is kept."""
        place = Place(cloud=request.offer.cloud, host=request.offer.host)
        await update(self.context.client, request.cluster, "expect", Expect(uid=request.uid, place=place))
        key = await client_key(self.context.store, request.cluster, request.uid)
        cloud = clouds.get(request.offer.cloud, self.context.settings)
        return await cloud.create_nodes(request.model_copy(update={"client_key": key.public}))

    @activity.defn
    async def delete_nodes(self, gang: GangRef) -> int:
        """See CloudCalls."""
        return await clouds.get(gang.cloud, self.context.settings).delete_nodes(gang)

    @activity.defn
    async def describe_nodes(self, gang: GangRef) -> list[NodeStatus]:
        """See CloudCalls."""
        return await clouds.get(gang.cloud, self.context.settings).describe_nodes(gang)

    @activity.defn
    async def find_nodes(self, search: NodeSearch) -> list[TaggedNode]:
        """See CloudCalls."""
        cloud = clouds.get(search.cloud, self.context.settings)
        return [node for deployment in search.deployments for node in await cloud.find_nodes(deployment)]

    @activity.defn
    async def stop_nodes(self, gang: GangRef) -> int:
        """See CloudCalls."""
        return await clouds.get(gang.cloud, self.context.settings).stop_nodes(gang)

    @activity.defn
    async def start_nodes(self, gang: GangRef) -> list[Node]:
        """See CloudCalls."""
        return await clouds.get(gang.cloud, self.context.settings).start_nodes(gang)
