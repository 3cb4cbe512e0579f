"""What every cloud must do, as one suite that each cloud's tests inherit. The cloud is as real as can be had."""

import asyncio
from typing import Protocol

import pytest

from skyflow.clouds.protocol import Cloud
from skyflow.errors import ProvisionError, Scope
from skyflow.models.feature import CloudFeature
from skyflow.models.node import GangRef, GangRequest, Node, Offer
from skyflow.nodes.connection import Completed


class World(Protocol):
    """A cloud to test, and the means to make it scarce."""

    @property
    def cloud(self) -> Cloud: ...

    def offers(self) -> list[Offer]:
        """At least two places for the same node, best first."""
        ...

    def stock_out(self, offer: Offer, count: int | None = None, scope: Scope | None = None) -> None:
        """From now on there is nothing in this zone, `count` times or for ever."""
        ...

    def allow(self, offer: Offer, nodes: int) -> None:
        """There can be so many nodes in this zone."""
        ...

    def request(self, **change: object) -> GangRequest: ...

    def reference(self, request: GangRequest, launch_id: str | None = None) -> GangRef: ...

    async def run(self, node: Node, command: str, input: bytes = b"") -> Completed:
        """Runs a command on a node over SSH, with the host key that the cloud reported."""
        ...


class CloudContract:
    """Inherited; the subclass brings the fixture `world`."""

    async def test_check_says_who_is_asking(self, world: World) -> None:
        access = await world.cloud.check()
        assert access.enabled and access.identity and not access.reason

    def test_the_catalog_carries_the_cloud_and_its_host(self, world: World) -> None:
        catalog = world.cloud.catalog()
        assert catalog.cloud == world.cloud.name
        assert catalog.host == world.cloud.host
        assert (catalog.host is not None) == world.cloud.capabilities.host_bound
        assert catalog.lacks <= set(CloudFeature.__members__)
        assert ("SPOT_INSTANCE" in catalog.lacks) != world.cloud.capabilities.spot
        assert ("OPEN_PORTS" in catalog.lacks) != world.cloud.capabilities.ports

    async def test_nodes_are_reached_over_ssh_with_the_reported_key(self, world: World) -> None:
        nodes = await world.cloud.create_nodes(world.request(num_nodes=2))
        assert [node.rank for node in nodes] == [0, 1]
        answers = await asyncio.gather(*(world.run(node, "id -un; echo oops >&2; exit 3") for node in nodes))
        assert answers == [Completed(3, f"{node.user}\n".encode(), b"oops\n") for node in nodes]

    async def test_creating_twice_gives_the_same_nodes(self, world: World) -> None:
        request = world.request(num_nodes=2)
        nodes = await world.cloud.create_nodes(request)
        await world.run(nodes[1], "echo precious > file")
        assert await world.cloud.create_nodes(request) == nodes
        assert (await world.run(nodes[1], "cat file")).stdout == b"precious\n"

    async def test_a_missing_node_is_made_beside_the_others(self, world: World) -> None:
        request = world.request(num_nodes=3)
        old = await world.cloud.create_nodes(request)
        await world.run(old[0], "echo precious > file")
        gang = world.reference(request)
        lost = gang.model_copy(update={"ids": [old[1].id]})
        assert [await world.cloud.delete_nodes(lost), await world.cloud.delete_nodes(lost)] == [1, 0]
        again = world.request(num_nodes=3, ranks=[1], generation=1, launch_id="start/dev/1")
        [new] = await world.cloud.create_nodes(again)
        assert (await world.cloud.create_nodes(again)) == [new]
        assert (new.rank, new.generation) == (1, 1) and new.id not in [node.id for node in old]
        found = {status.node.id for status in await world.cloud.describe_nodes(gang) if status.state == "running"}
        assert found == {old[0].id, new.id, old[2].id}
        assert (await world.run(old[0], "cat file")).stdout == b"precious\n"
        assert (await world.run(new, "ls ~/file")).status != 0
        assert await world.cloud.delete_nodes(world.reference(again, again.launch_id)) == 1

    async def test_nodes_are_deleted_by_id_only_if_they_are_of_that_life(self, world: World) -> None:
        request = world.request()
        [node] = await world.cloud.create_nodes(request)
        for other in (world.request(uid="20261125T000000-00000000"), world.request(cluster="other")):
            foreign = world.reference(other).model_copy(update={"ids": [node.id, "unknown"]})
            assert await world.cloud.delete_nodes(foreign) == 0
        assert await world.cloud.delete_nodes(world.reference(request).model_copy(update={"ids": []})) == 0
        assert len(await world.cloud.describe_nodes(world.reference(request))) == 1

    @pytest.mark.parametrize("steps", [1, 3, 10, 30])
    async def test_replay_after_a_lost_answer(self, world: World, steps: int) -> None:
        request = world.request(num_nodes=2)
        lost = asyncio.create_task(world.cloud.create_nodes(request))
        for _ in range(steps):
            await asyncio.sleep(0)
        lost.cancel()
        await asyncio.wait([lost])
        nodes = await world.cloud.create_nodes(request)
        assert len(await world.cloud.describe_nodes(world.reference(request))) == len(nodes) == 2

    async def test_two_creations_at_once_give_the_same_nodes(self, world: World) -> None:
        request = world.request(num_nodes=2)
        one, other = await asyncio.gather(world.cloud.create_nodes(request), world.cloud.create_nodes(request))
        assert one == other
        assert len(await world.cloud.describe_nodes(world.reference(request))) == 2

    async def test_another_decision_makes_other_nodes(self, world: World) -> None:
        made = [
            (await world.cloud.create_nodes(request))[0].id
            for request in (
                world.request(),
                world.request(generation=1),
                world.request(offer_index=1),
                world.request(launch_id="launch/dev/2"),
                world.request(uid="20261125T000000-00000000"),
            )
        ]
        assert len(set(made)) == len(made)

    async def test_a_partial_gang_is_refused_and_can_be_deleted(self, world: World) -> None:
        request = world.request(num_nodes=3)
        world.allow(request.offer, 2)
        with pytest.raises(ProvisionError) as refused:
            await world.cloud.create_nodes(request)
        assert refused.value.scope == "zone"
        reference = world.reference(request, request.launch_id)
        left = len(await world.cloud.describe_nodes(reference))
        assert left < 3
        assert await world.cloud.delete_nodes(reference) == left
        assert await world.cloud.describe_nodes(reference) == []

    async def test_a_stockout_rules_out_its_zone_until_it_is_over(self, world: World) -> None:
        first, second = world.offers()[:2]
        world.stock_out(first, count=2)
        for _ in range(2):
            with pytest.raises(ProvisionError) as refused:
                await world.cloud.create_nodes(world.request(offer=first))
            assert (refused.value.scope, bool(refused.value.code)) == ("zone", True)
        assert await world.cloud.create_nodes(world.request(offer=second, offer_index=1))
        assert await world.cloud.create_nodes(world.request(offer=first))

    @pytest.mark.parametrize("scope", ["zone", "region", "cloud", "request", "retry"])
    async def test_a_refusal_says_what_it_rules_out(self, world: World, scope: Scope) -> None:
        world.stock_out(world.offers()[0], scope=scope)
        with pytest.raises(ProvisionError) as refused:
            await world.cloud.create_nodes(world.request())
        assert refused.value.scope == scope

    async def test_a_stockout_does_not_touch_what_exists(self, world: World) -> None:
        request = world.request()
        nodes = await world.cloud.create_nodes(request)
        world.stock_out(request.offer)
        assert await world.cloud.create_nodes(request) == nodes

    async def test_describe_finds_by_tag(self, world: World) -> None:
        request, other = world.request(num_nodes=2), world.request(cluster="other")
        nodes = await world.cloud.create_nodes(request)
        await world.cloud.create_nodes(other)
        found = await world.cloud.describe_nodes(world.reference(request))
        assert sorted((status.node.rank, status.node.id, status.state) for status in found) == [
            (node.rank, node.id, "running") for node in nodes
        ]
        assert sorted(status.node.model_dump_json() for status in found) == sorted(
            node.model_dump_json() for node in nodes
        )

    async def test_all_nodes_of_a_deployment_are_found_with_whose_they_are(self, world: World) -> None:
        mine, other, foreign = world.request(num_nodes=2), world.request(cluster="My.Other", uid="u2"), "another"
        nodes = [*await world.cloud.create_nodes(mine), *await world.cloud.create_nodes(other)]
        await world.cloud.create_nodes(world.request(deployment=foreign))
        found = await world.cloud.find_nodes(mine.deployment)
        assert sorted((one.id, one.rank, one.uid, one.state) for one in found) == sorted(
            (node.id, node.rank, uid, "running")
            for node, uid in zip(nodes, [mine.uid, mine.uid, other.uid], strict=True)
        )
        assert {(one.deployment, one.cluster) for one in found} == {
            (mine.deployment, name) for name in (mine.cluster, other.cluster)
        }
        assert all(one.place.startswith(f"{world.cloud.name}/") and one.removal for one in found)
        assert await world.cloud.find_nodes("nobody") == []

    async def test_deleting_twice_succeeds(self, world: World) -> None:
        request = world.request(num_nodes=2)
        reference = world.reference(request)
        assert await world.cloud.delete_nodes(reference) == 0
        await world.cloud.create_nodes(request)
        assert await world.cloud.delete_nodes(reference) == 2
        assert await world.cloud.delete_nodes(reference) == 0
        assert [status for status in await world.cloud.describe_nodes(reference) if status.state != "gone"] == []

    async def test_deleting_the_nodes_of_one_launch_leaves_the_others(self, world: World) -> None:
        mine, earlier = world.request(launch_id="launch/dev/2"), world.request(num_nodes=2)
        await world.cloud.create_nodes(earlier)
        await world.cloud.create_nodes(mine)
        assert await world.cloud.delete_nodes(world.reference(mine, mine.launch_id)) == 1
        assert len(await world.cloud.describe_nodes(world.reference(earlier))) == 2

    async def test_what_was_deleted_can_be_made_again(self, world: World) -> None:
        request = world.request()
        first = await world.cloud.create_nodes(request)
        await world.run(first[0], "echo old > file")
        await world.cloud.delete_nodes(world.reference(request))
        again = await world.cloud.create_nodes(world.request(uid="20261125T000000-00000000"))
        assert (await world.run(again[0], "test -e file")).status == 1

    async def test_two_deployments_never_touch_each_other(self, world: World) -> None:
        mine, theirs = world.request(), world.request(deployment="another")
        (own,) = await world.cloud.create_nodes(mine)
        (foreign,) = await world.cloud.create_nodes(theirs)
        assert own.id != foreign.id
        assert await world.cloud.delete_nodes(world.reference(mine)) == 1
        (left,) = await world.cloud.describe_nodes(world.reference(theirs))
        assert (left.node.id, left.state) == (foreign.id, "running")
        assert (await world.run(foreign, "true")).status == 0

    async def test_lives_of_a_cluster_never_touch_each_other(self, world: World) -> None:
        old, new = world.request(), world.request(uid="20261125T000000-00000000")
        await world.cloud.create_nodes(old)
        await world.cloud.create_nodes(new)
        assert await world.cloud.delete_nodes(world.reference(old)) == 1
        assert len(await world.cloud.describe_nodes(world.reference(new))) == 1
