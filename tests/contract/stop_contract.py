"""What every cloud that can stop nodes must do, as one suite that each cloud's tests inherit."""

import asyncio

import pytest

from skyflow.errors import ProvisionError
from skyflow.models.node import GangRef
from tests.contract.cloud_contract import World

LOOP = "nohup setsid sh -c 'while :; do date >~/beat; sleep 0.1; done' >/dev/null 2>&1 & echo $!"
"""Leaves a process behind, and prints its id."""
RUNS = "grep -qs beat /proc/{}/cmdline"
"""Whether it is still there: another process may have its id, and a zombie has no command line."""


async def states(world: World, gang: GangRef) -> list[str]:
    found = await world.cloud.describe_nodes(gang)
    return [status.state for status in sorted(found, key=lambda status: status.node.rank)]


class StopContract:
    """Inherited; the subclass brings the fixture `world`."""

    def test_the_cloud_says_that_it_can(self, world: World) -> None:
        assert world.cloud.capabilities.stop

    async def test_disks_outlive_a_stop_and_processes_do_not(self, world: World) -> None:
        request = world.request(num_nodes=2)
        gang = world.reference(request)
        nodes = await world.cloud.create_nodes(request)
        pids = []
        for node in nodes:
            await world.run(node, f"echo precious {node.rank} > file; touch $TMPDIR/scratch")
            pids.append((await world.run(node, LOOP)).stdout.decode().strip())
        assert await world.cloud.stop_nodes(gang) == 2
        assert await states(world, gang) == ["stopped", "stopped"]
        started = await world.cloud.start_nodes(gang)
        assert [(node.id, node.rank) for node in started] == [(node.id, node.rank) for node in nodes]
        assert await states(world, gang) == ["running", "running"]
        for node, pid in zip(started, pids, strict=True):
            said = await world.run(node, f"cat file; ls $TMPDIR; {RUNS.format(pid)} || echo ended")
            assert said.stdout.decode() == f"precious {node.rank}\nended\n"

    async def test_stopping_twice_succeeds(self, world: World) -> None:
        request = world.request(num_nodes=2)
        gang = world.reference(request)
        assert await world.cloud.stop_nodes(gang) == 0
        await world.cloud.create_nodes(request)
        assert await asyncio.gather(world.cloud.stop_nodes(gang), world.cloud.stop_nodes(gang)) == [2, 2]
        assert await world.cloud.stop_nodes(gang) == 2
        assert await states(world, gang) == ["stopped", "stopped"]

    async def test_starting_twice_succeeds(self, world: World) -> None:
        request = world.request(num_nodes=2)
        gang = world.reference(request)
        assert await world.cloud.start_nodes(gang) == []
        nodes = await world.cloud.create_nodes(request)
        pid = (await world.run(nodes[0], LOOP)).stdout.decode().strip()
        assert await world.cloud.start_nodes(gang) == nodes
        assert (await world.run(nodes[0], RUNS.format(pid))).status == 0
        await world.cloud.stop_nodes(gang)
        one, other = await asyncio.gather(world.cloud.start_nodes(gang), world.cloud.start_nodes(gang))
        assert one == other == await world.cloud.start_nodes(gang)

    async def test_whoever_looks_starts_nothing(self, world: World) -> None:
        request = world.request()
        gang = world.reference(request)
        await world.cloud.create_nodes(request)
        await world.cloud.stop_nodes(gang)
        for _ in range(3):
            assert await states(world, gang) == ["stopped"]

    async def test_of_a_partly_stopped_gang_only_the_stopped_are_started(self, world: World) -> None:
        first, second = world.request(), world.request(launch_id="launch/dev/2")
        gang = world.reference(first)
        (stopped,), (running,) = [await world.cloud.create_nodes(one) for one in (first, second)]
        pid = (await world.run(running, LOOP)).stdout.decode().strip()
        assert await world.cloud.stop_nodes(world.reference(first, first.launch_id)) == 1
        found = await world.cloud.describe_nodes(gang)
        assert {one.node.id: one.state for one in found} == {stopped.id: "stopped", running.id: "running"}
        assert {node.id for node in await world.cloud.start_nodes(gang)} == {stopped.id, running.id}
        assert (await world.run(running, RUNS.format(pid))).status == 0

    async def test_what_is_stopped_can_be_deleted(self, world: World) -> None:
        request = world.request(num_nodes=2)
        gang = world.reference(request)
        await world.cloud.create_nodes(request)
        await world.cloud.stop_nodes(gang)
        assert await world.cloud.delete_nodes(gang) == 2
        assert [state for state in await states(world, gang) if state != "gone"] == []
        assert await world.cloud.start_nodes(gang) == []

    async def test_a_start_needs_room_that_the_stopped_do_not_take(self, world: World) -> None:
        request, other = world.request(num_nodes=2), world.request(uid="20261125T000000-00000000")
        gang = world.reference(request)
        world.allow(request.offer, 2)
        await world.cloud.create_nodes(request)
        await world.cloud.stop_nodes(gang)
        await world.cloud.create_nodes(other)
        with pytest.raises(ProvisionError) as refused:
            await world.cloud.start_nodes(gang)
        assert (refused.value.scope, bool(refused.value.code)) == ("zone", True)
        await world.cloud.stop_nodes(gang)  # a part may have been granted
        await world.cloud.delete_nodes(world.reference(other))
        assert len(await world.cloud.start_nodes(gang)) == 2

    async def test_a_stockout_refuses_a_start_until_it_is_over(self, world: World) -> None:
        request = world.request()
        gang = world.reference(request)
        nodes = await world.cloud.create_nodes(request)
        world.stock_out(request.offer, count=1)
        assert await world.cloud.start_nodes(gang) == nodes  # they run
        await world.cloud.stop_nodes(gang)
        with pytest.raises(ProvisionError) as refused:
            await world.cloud.start_nodes(gang)
        assert (refused.value.scope, bool(refused.value.code)) == ("zone", True)
        assert await states(world, gang) == ["stopped"]
        assert [node.id for node in await world.cloud.start_nodes(gang)] == [nodes[0].id]

    @pytest.mark.parametrize("steps", [1, 3, 10, 30])
    async def test_replay_after_a_lost_answer(self, world: World, steps: int) -> None:
        request = world.request(num_nodes=2)
        gang = world.reference(request)
        await world.cloud.create_nodes(request)
        for call, result in ((world.cloud.stop_nodes, "stopped"), (world.cloud.start_nodes, "running")):
            lost: asyncio.Task[object] = asyncio.ensure_future(call(gang))
            for _ in range(steps):
                await asyncio.sleep(0)
            lost.cancel()
            await asyncio.wait([lost])
            await call(gang)
            assert await states(world, gang) == [result, result]

    async def test_lives_of_a_cluster_never_touch_each_other(self, world: World) -> None:
        old, new = world.request(), world.request(uid="20261125T000000-00000000")
        theirs = world.request(deployment="another")
        for request in (old, new, theirs):
            await world.cloud.create_nodes(request)
        assert await world.cloud.stop_nodes(world.reference(old)) == 1
        assert await world.cloud.stop_nodes(world.reference(theirs)) == 1
        assert await states(world, world.reference(new)) == ["running"]
        assert len(await world.cloud.start_nodes(world.reference(old))) == 1
        assert await states(world, world.reference(theirs)) == ["stopped"]
