"""A cluster that has lost nodes: others take their place, and the rest goes on."""

from __future__ import annotations

from typing import Literal

import pytest

from skyflow.errors import ClusterNotUpError
from skyflow.models.cluster import ClusterState
from skyflow.models.cluster_facts import TIDY_LOOKS
from skyflow.models.job import JobEnd, JobRecord
from skyflow.models.node import Node, NodeStatus
from skyflow.models.operation import (
    ArmIdle,
    AutostopSetting,
    Grant,
    NodesReport,
    RanksLost,
    Release,
    Reserve,
    StartJob,
    Submission,
)
from skyflow.models.schedule import Demand
from skyflow.models.status import ClusterStatus, JobStatus
from tests.models.test_cluster import OFFER, fresh, launch, node, run_job


def anew(rank: int) -> Node:
    """The second node of a rank."""
    return node(rank).model_copy(update={"id": f"m{rank}", "host_key": "ssh-ed25519 BBBB", "generation": 1})


def with_one_lost(lost: int = 1, nodes: int = 2) -> ClusterState:
    """A cluster on whose head a job runs, for which its launch waits; another node is lost (or the head)."""
    state = fresh()
    launch(state, "a", nodes=nodes)
    run_job(state, "a")
    state.nodes_away([lost], [], 5)
    return state


def reserved(state: ClusterState, name: str, kind: Literal["start", "launch", "exec"] = "start") -> bool:
    reservation, _ = state.reserve(Reserve(workflow_id=name, kind=kind), 10)
    return reservation.granted


def report(
    state: ClusterState, *nodes: Node, name: str = "s", partial: bool = False, started: bool = True, at: float = 0
) -> list[object]:
    made = NodesReport(
        workflow_id=name, uid=state.uid, nodes=list(nodes), offer=OFFER, partial=partial, started=started, at=at
    )
    return [*state.report_nodes(made, 20)]


def test_what_runs_goes_on_while_another_node_is_made() -> None:
    state = with_one_lost()
    assert state.status is ClusterStatus.INIT
    reservation, actions = state.reserve(Reserve(workflow_id="s", kind="start"), 10)
    assert (reservation.granted, reservation.lost, reservation.up, reservation.stopped) == (True, [1], True, False)
    assert actions == []
    assert report(state, node(0), anew(1)) == []
    assert (state.nodes, state.lost, state.status) == ([node(0), anew(1)], [], ClusterStatus.UP)
    assert {rank: interval.node for rank, interval in state.up.items()} == {0: "n0", 1: "m1"}
    assert [(one.node, one.ended) for one in state.unbooked if one.rank == 1] == [
        ("n1", None),
        ("n1", 5),
        ("m1", None),
    ]
    assert state.jobs[1].ranks == [0] and not state.jobs[1].status.is_terminal()
    assert state.leased == "", "the new node is told its lease"


def test_a_new_head_is_where_the_cluster_is_reached() -> None:
    state = with_one_lost(lost=0)
    before = state.view()["ways"]
    reserved(state, "s")
    report(state, anew(0).model_copy(update={"address": "127.9.9.9"}), node(1))
    assert state.view()["head_ip"] == "127.9.9.9"
    assert state.view()["ways"] != before
    assert [one["host_key"] for one in state.access()["nodes"]] == ["ssh-ed25519 BBBB", "ssh-ed25519 AAAA"]


def test_of_two_repairs_the_second_is_told_that_nothing_is_lost_any_more() -> None:
    state = with_one_lost()
    assert reserved(state, "s")
    assert not reserved(state, "t")
    report(state, node(0), anew(1))
    [grant] = [one for one in state.release(Release(workflow_id="s"), 21, "life-2") if isinstance(one, Grant)]
    assert (grant.workflow_id, grant.reservation.lost, grant.reservation.nodes) == ("t", [], [node(0), anew(1)])


def test_who_shares_the_cluster_is_never_told_to_repair_it() -> None:
    """The worker died after the grant; when the reservation is asked for again, a node is lost, and another is off."""
    state = fresh()
    launch(state, "a", nodes=3)
    run_job(state, "a")
    requests = [Reserve(workflow_id=name, kind="launch", job=JobRecord(id=0)) for name in ("b", "c")]
    assert all(state.reserve(request, 10)[0].granted for request in requests)
    state.nodes_away([1], [2], 11)
    again = [state.reserve(request, 12)[0] for request in requests]
    assert [(one.granted, one.lost, one.stopped) for one in again] == [(True, [], False)] * 2
    assert not reserved(state, "s")
    for name in ("b", "c"):
        actions = state.release(Release(workflow_id=name), 13, "life-2")
    [grant] = [one for one in actions if isinstance(one, Grant)]
    assert (grant.workflow_id, grant.reservation.lost, grant.reservation.stopped) == ("s", [1], True)


def test_a_launch_that_is_still_at_work_with_the_nodes_is_waited_for() -> None:
    state = fresh()
    launch(state, "a", nodes=2)
    state.nodes_away([1], [], 5)
    assert not reserved(state, "s")
    state.release(Release(workflow_id="a"), 11, "life-2")
    assert state.operations[0].granted


def test_a_part_that_is_reported_gives_the_cluster_away_to_nobody() -> None:
    state = with_one_lost(nodes=3)
    state.nodes_away([], [2], 6)
    reserved(state, "s")
    reserved(state, "t")
    assert report(state, node(0), node(2), partial=True) == []
    assert (state.lost, state.halted, state.status) == ([1], [], ClusterStatus.INIT)
    assert set(state.up) == {0, 2}
    assert state.operations[1].exclusive and not state.operations[2].granted


def test_a_late_report_of_a_part_takes_no_new_node_away() -> None:
    state = with_one_lost()
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0, num_nodes=1)), 10)
    report(state, node(0), name="b", partial=True, at=11)
    report(state, node(0), anew(1), name="b", at=12)
    run_job(state, "b", 2)
    assert state.jobs[2].ranks == [1]
    before = state.model_copy(deep=True)
    for partial, at in ((True, 11), (False, 12)):  # from workers that were frozen
        assert report(state, node(0), name="b", partial=partial, at=at) == []
    assert state == before


def test_a_late_report_does_not_wake_a_stopped_cluster() -> None:
    state = fresh()
    state.reserve(Reserve(workflow_id="a", kind="launch", job=JobRecord(id=0, num_nodes=1)), 1)
    report(state, node(0), name="a", at=2)
    state.submit(Submission(workflow_id="a", job_id=1, spec="key", demand=Demand(cpus=99)), 3)
    state.reserve(Reserve(workflow_id="p", kind="stop"), 4)
    state.release(Release(workflow_id="p", nodes_stopped=True), 5, "life-2")
    assert state.stopped and [op.workflow_id for op in state.operations] == ["a"]
    assert report(state, node(0), name="a", at=2) == []
    assert state.stopped and state.up == {}


def test_a_node_that_was_gone_unseen_takes_its_job_with_it() -> None:
    state = with_one_lost()
    reserved(state, "s")
    lost = report(state, node(1).model_copy(update={"id": "m1"}), anew(0))
    assert RanksLost(1, (0,)) in lost


def test_a_repair_that_failed_leaves_all_as_it_was() -> None:
    state = with_one_lost()
    before = (state.nodes, state.lost, state.up)
    reserved(state, "s")
    assert state.release(Release(workflow_id="s"), 21, "life-2") == []
    assert (state.nodes, state.lost, state.up) == before
    assert state.status is ClusterStatus.INIT
    assert reserved(state, "t")


def test_a_node_that_is_lost_during_the_repair_is_not_forgotten() -> None:
    state = with_one_lost(nodes=3)
    reserved(state, "s")
    state.nodes_away([2], [], 15)
    report(state, node(0), anew(1), node(2))
    assert (state.lost, state.status) == ([2], ClusterStatus.INIT)


def test_a_node_that_is_seen_to_stop_during_the_repair_does_not_count_as_up() -> None:
    state = with_one_lost(nodes=3)
    reserved(state, "s")
    report(state, node(0), node(2), partial=True)
    state.nodes_away([], [2], 15)
    report(state, node(0), anew(1), node(2), started=False)
    assert (state.lost, state.halted, state.status) == ([], [2], ClusterStatus.INIT)
    assert set(state.up) == {0, 1}


def test_a_stopped_node_that_was_made_anew_is_up() -> None:
    state = with_one_lost(nodes=3)
    reserved(state, "s")
    report(state, node(0), node(2), partial=True, started=False)
    state.nodes_away([], [2], 15)
    report(state, node(0), anew(1), anew(2), started=False)
    assert (state.lost, state.halted, state.status) == ([], [], ClusterStatus.UP)
    assert set(state.up) == {0, 1, 2}


def test_a_repair_during_which_the_others_are_lost_leaves_the_rule_of_the_user() -> None:
    state = with_one_lost()
    state.set_autostop(AutostopSetting(minutes=30), 9)
    rule = state.rule
    reserved(state, "s")
    assert RanksLost(1, (0,)) in state.nodes_away([0], [], 15)
    report(state, node(0), anew(1))
    assert (state.lost, state.status, state.rule) == ([0], ClusterStatus.INIT, rule)
    state.release(Release(workflow_id="s"), 21, "life-2")
    assert state.rule == rule and set(state.up) == {1}


def test_a_repair_that_replaces_the_last_node_leaves_the_rule_of_the_user() -> None:
    """The report is the first that says so: one is gone, and the other one is new."""
    state = with_one_lost()
    state.set_autostop(AutostopSetting(minutes=30), 9)
    rule = state.rule
    reserved(state, "s")
    report(state, anew(1))
    assert (state.lost, state.rule) == ([0], rule)


@pytest.mark.parametrize("told", [True, False])
def test_a_cluster_that_lost_all_during_a_repair_in_vain_is_taken_down(told: bool) -> None:
    state = with_one_lost()
    state.set_autostop(AutostopSetting(minutes=30), 9)
    reserved(state, "s")
    state.nodes_away([0], [], 15)
    state.job_ended(JobEnd(job_id=1, status=JobStatus.FAILED_DRIVER), 16)
    state.release(Release(workflow_id="a"), 17, "life-2")
    if told:
        report(state)
    [clock] = [one for one in state.release(Release(workflow_id="s"), 21, "life-2") if isinstance(one, ArmIdle)]
    assert clock.rule is not None and (clock.rule.minutes, clock.rule.down) == (0, True)


def test_jobs_that_wait_start_when_there_is_room_again() -> None:
    state = with_one_lost()
    record = JobRecord(id=0, num_nodes=1)
    state.reserve(Reserve(workflow_id="b", kind="launch", job=record), 10)
    assert report(state, node(0), anew(1), name="b") == []
    assert state.jobs[2].status.value == "INIT"
    started = [one for one in run_job(state, "b", 2) if isinstance(one, StartJob)]
    assert started == [StartJob(2)] and state.jobs[2].ranks == [1]


@pytest.mark.parametrize("kind", ["launch", "start", "exec"])
def test_of_a_cluster_that_has_lost_all_there_is_nothing_to_repair(kind: Literal["launch", "start", "exec"]) -> None:
    state = with_one_lost()
    state.nodes_away([0], [], 6)
    with pytest.raises(ClusterNotUpError, match=r"has lost all of its nodes\. .* skyflow down dev"):
        reserved(state, "s", kind)


def seen(*nodes: Node) -> list[NodeStatus]:
    return [NodeStatus(node=one, state="running") for one in nodes]


def test_a_node_that_nobody_reported_is_nobodys() -> None:
    state = with_one_lost()
    assert state.strays(seen(node(0), node(1), anew(1))) == ["m1"], "what was lost is the user's"
    reserved(state, "s")
    assert state.strays(seen(node(0), anew(1))) == [], "somebody is about to report it"
    report(state, node(0), anew(1))
    assert state.strays(seen(node(0), anew(1))) == []
    state.adopted = True
    assert state.strays(seen(node(2))) == []
    assert fresh().strays(seen(node(2))) == []


def test_after_a_repair_that_told_nothing_nodes_of_nobody_are_looked_for() -> None:
    state = with_one_lost()
    reserved(state, "s")
    report(state, node(0), partial=True)
    assert state.untidy == 0 and not state.may_have_strays(), "it is at work"
    state.release(Release(workflow_id="s"), 21, "life-2")
    assert state.untidy == TIDY_LOOKS and state.may_have_strays()
    state.untidy = 0
    reserved(state, "t")
    report(state, node(0), anew(1), name="t")
    state.release(Release(workflow_id="t"), 31, "life-2")
    assert state.untidy == 0


def test_after_a_purge_of_a_repair_nodes_of_nobody_are_looked_for() -> None:
    state = with_one_lost()
    reserved(state, "s")
    stop = Reserve(workflow_id="p", kind="stop", force=True, purge=True)
    assert state.reserve(stop, 20)[0].granted
    state.release(Release(workflow_id="p", nodes_stopped=True), 21, "life-2")
    assert state.untidy == TIDY_LOOKS
    down = Reserve(workflow_id="d", kind="down", force=True)
    state.reserve(down, 30)
    state.release(Release(workflow_id="d", nodes_deleted=True), 31, "life-2")
    assert state.untidy == 0


def test_a_node_that_was_made_anew_just_before_the_database_was_lost_is_adopted() -> None:
    state = with_one_lost()
    state.adopted = True
    state.observe(seen(node(0), anew(1)), 30)
    state.take_up(None, 31)
    assert state.lost == [] and [one.id for one in state.nodes] == [node(0).id, anew(1).id]
    assert state.strays(seen(node(0), anew(1))) == []
