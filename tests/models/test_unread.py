"""Ends of jobs that nobody has read, because their nodes were stopped first."""

from __future__ import annotations

import pytest

from skyflow.models.change import Seen, note
from skyflow.models.cluster import ClusterState
from skyflow.models.idle import UNREAD_MINUTES
from skyflow.models.job import LOST, STOPPED_WITH_GANG, UNREAD, GangState, JobEnd, RankEnd, Units
from skyflow.models.life import kept
from skyflow.models.node import NodeStatus
from skyflow.models.operation import (
    AbandonJob,
    ArmIdle,
    AutostopSetting,
    IdleRule,
    NodesReport,
    RanksLost,
    Release,
    Reserve,
)
from skyflow.models.status import ClusterStatus, JobStatus
from tests.models.test_cluster import OFFER, fresh, launch, node, run_job


def gang(*codes: int, cancelled: bool = False) -> GangState:
    """A gang whose ranks have these codes, as they came."""
    state = GangState(ranks=list(range(len(codes))), cancelled=cancelled)
    for rank, code in enumerate(codes):
        state.ended(RankEnd(rank=rank, code=code))
    return state


@pytest.mark.parametrize(
    ("before", "ends", "status", "returncode", "reason"),
    [
        (gang(UNREAD), {0: 0}, JobStatus.SUCCEEDED, 0, ""),
        (gang(UNREAD), {0: 7}, JobStatus.FAILED, 7, "Rank 0 failed with exit code 7."),
        (gang(UNREAD), {0: STOPPED_WITH_GANG}, JobStatus.FAILED, 137, "Rank 0 failed with exit code 137."),
        (gang(UNREAD), {0: LOST}, JobStatus.FAILED_DRIVER, None, "Rank 0 was lost: its node rebooted, or"),
        (gang(UNREAD, UNREAD), {0: 0, 1: 0}, JobStatus.SUCCEEDED, 0, ""),
        (gang(UNREAD, UNREAD), {0: 0, 1: 3}, JobStatus.FAILED, 3, "Rank 1 failed with exit code 3."),
        (gang(0, UNREAD), {1: 0}, JobStatus.SUCCEEDED, 0, ""),
        (gang(2, UNREAD), {1: 137}, JobStatus.FAILED, 2, "Rank 0 failed with exit code 2."),
        (gang(UNREAD, 137), {0: 0}, JobStatus.FAILED_DRIVER, None, "It was stopped, because the node of rank 0"),
        (gang(UNREAD, 137), {0: 5}, JobStatus.FAILED, 5, "Rank 0 failed with exit code 5."),
        (gang(UNREAD, cancelled=True), {0: 0}, JobStatus.SUCCEEDED, 0, ""),
        (gang(UNREAD, cancelled=True), {0: 137}, JobStatus.CANCELLED, 137, "Cancelled."),
    ],
)
def test_what_a_job_was_is_known_when_its_end_is_read(
    before: GangState, ends: dict[int, int], status: JobStatus, returncode: int | None, reason: str
) -> None:
    first = before.outcome(1)
    assert first.unread == before
    assert first.status is (JobStatus.CANCELLED if before.cancelled else JobStatus.FAILED_DRIVER) or 2 in (
        before.codes.values()
    )
    read = before.read([RankEnd(rank=rank, code=code) for rank, code in ends.items()])
    end = read.outcome(1)
    assert (end.status, end.returncode, end.unread) == (status, returncode, None)
    assert end.reason.startswith(reason) and bool(end.reason) == bool(reason)


def test_what_is_known_already_stays_and_a_part_is_not_all() -> None:
    part = gang(0, UNREAD, UNREAD).read([RankEnd(rank=0, code=9), RankEnd(rank=2, code=0), RankEnd(rank=5, code=1)])
    assert (part.codes, part.unread()) == ({0: 0, 1: UNREAD, 2: 0}, [1])
    assert part.outcome(1).unread == part


def test_the_first_to_fail_is_the_first_by_the_clock() -> None:
    ends = [RankEnd(rank=0, code=0, at=30), RankEnd(rank=1, code=4, at=20), RankEnd(rank=2, code=5, at=10)]
    assert gang(UNREAD, UNREAD, UNREAD).read(ends).outcome(1).returncode == 5


def running(nodes: int = 1) -> ClusterState:
    """A cluster on which a job runs on its first node."""
    state = fresh()
    launch(state, "a", nodes=nodes)
    state.set_autostop(AutostopSetting(minutes=0, down=True, wait_for="jobs"), 1)
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 2, "life-2")
    return state


def asleep(nodes: int = 1) -> ClusterState:
    """Its nodes have switched themselves off before anybody heard of the job's end."""
    state = running(nodes)
    actions = state.nodes_away([], list(range(nodes)), 100)
    assert RanksLost(1, (0,), stopped=(0,)) in actions
    assert AbandonJob(1, "life-1", stopped=True) in actions
    state.job_ended(gang(UNREAD).outcome(1), 101)
    return state


def started(state: ClusterState) -> list[object]:
    state.reserve(Reserve(workflow_id="s", kind="start"), 200)
    nodes = NodesReport(workflow_id="s", uid="life-1", nodes=state.nodes, offer=OFFER)
    return [*state.report_nodes(nodes, 201), *state.release(Release(workflow_id="s"), 202, "life-2")]


def test_an_end_is_unread_until_the_nodes_run_again_and_keeps_them_until_it_is_read() -> None:
    state = asleep()
    job = state.jobs[1]
    assert (job.status, job.unread) == (JobStatus.FAILED_DRIVER, gang(UNREAD))
    assert state.readable() == []
    assert state.clock_rule() == IdleRule(minutes=UNREAD_MINUTES, down=True, wait_for="jobs")

    actions = started(state)
    assert state.readable() == [job]
    assert state.idle_since is None and not any(isinstance(action, ArmIdle) for action in actions)
    end = gang(UNREAD).read([RankEnd(rank=0, code=0)]).outcome(1)
    [arm] = state.end_read(end, 50.0, 210)
    assert isinstance(arm, ArmIdle) and arm.rule == state.rule
    assert (job.status, job.returncode, job.reason, job.ended_at) == (JobStatus.SUCCEEDED, 0, "", 50.0)
    assert state.readable() == []
    assert state.end_read(gang(UNREAD).read([RankEnd(rank=0, code=1)]).outcome(1), 60.0, 220) == []
    assert job.status is JobStatus.SUCCEEDED


def test_those_who_listen_are_told_its_true_end_too() -> None:
    state = asleep()
    started(state)
    state.webhook, state.seen = True, Seen.of(state)
    state.end_read(gang(UNREAD).read([RankEnd(rank=0, code=3)]).outcome(1), 50.0, 210)
    note(state, 210)
    [change] = state.unposted
    assert (change.job_id, change.before, change.after, change.returncode) == (1, "FAILED_DRIVER", "FAILED", 3)


def test_a_rule_that_waits_for_nothing_waits_for_it_too() -> None:
    state = asleep()
    assert state.rule
    state.rule = state.rule.model_copy(update={"wait_for": "none"})
    started(state)
    assert state.is_kept()
    state.ends_unreadable(300)
    assert not state.is_kept()


def test_nodes_that_do_not_say_it_are_not_kept_for_ever() -> None:
    state = asleep()
    started(state)
    [arm] = state.ends_unreadable(300)
    assert isinstance(arm, ArmIdle)
    assert state.readable() == [state.jobs[1]]
    state.reserve(Reserve(workflow_id="t", kind="stop"), 310)
    state.release(Release(workflow_id="t", nodes_stopped=True), 311, "life-2")
    assert state.readable() == [] and not state.unreadable


def test_a_stopped_node_among_others_is_read_when_it_runs_again() -> None:
    state = running(nodes=2)
    assert RanksLost(1, (0,), stopped=(0,)) in state.nodes_away([], [0], 100)
    state.job_ended(gang(UNREAD).outcome(1), 101)
    assert state.readable() == []
    assert state.status is ClusterStatus.INIT
    state.observe([NodeStatus(node=node(rank), state="running") for rank in (0, 1)], 150)
    assert state.readable() == [state.jobs[1]]


def test_a_gone_node_has_nothing_to_be_read() -> None:
    state = running(nodes=2)
    assert RanksLost(1, (0,), stopped=()) in state.nodes_away([0], [], 100)


def test_a_job_that_its_own_workflow_gave_up_first_keeps_the_disks_for_a_day_too() -> None:
    state = running()
    state.job_ended(gang(UNREAD).outcome(1), 99)
    state.nodes_away([], [0], 100)
    assert state.clock_rule() == IdleRule(minutes=UNREAD_MINUTES, down=True, wait_for="jobs")


def test_what_is_unread_is_kept_in_the_store_and_adopted() -> None:
    state = asleep()
    assert kept(state).jobs == {1: state.jobs[1]}
    before = state.essentials()
    started(state)
    state.end_read(JobEnd(job_id=1, status=JobStatus.SUCCEEDED), None, 210)
    assert state.essentials() != before
    assert kept(state).jobs == {}


def test_an_adopted_cluster_whose_nodes_are_stopped_reads_its_jobs_at_the_next_start() -> None:
    state = running(nodes=2)
    state.adopted, state.stopped = True, True
    state.take_up(Units(), 100)
    assert state.jobs[1].unread == gang(UNREAD)
    lost = running(nodes=2)
    lost.adopted, lost.lost = True, [0]
    lost.take_up(Units(), 100)
    assert lost.jobs[1].unread is None and lost.jobs[1].status is JobStatus.FAILED_DRIVER


def test_a_job_that_was_not_heard_of_when_its_life_ended_is_nobodys() -> None:
    state = asleep()
    state.reserve(Reserve(workflow_id="d", kind="down"), 300)
    state.release(Release(workflow_id="d", nodes_deleted=True), 301, "life-2")
    assert state.jobs == {} and state.is_over()
