"""What keeps a cluster from being idle, and what its nodes know of that."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from skyflow.errors import ClusterNotUpError, InvalidTaskError, UsageError
from skyflow.models.cluster import ClusterState
from skyflow.models.idle import LEASE_GRACE
from skyflow.models.job import JobEnd, JobRecord
from skyflow.models.node import NodeStatus
from skyflow.models.operation import (
    Action,
    ArmIdle,
    AskSessions,
    AutostopSetting,
    Busy,
    CancelJob,
    CancelOperation,
    Grant,
    IdleDue,
    IdleRule,
    NodesReport,
    Release,
    Reserve,
    StartDown,
    StartStop,
    Submission,
)
from skyflow.models.schedule import Demand
from skyflow.models.status import ClusterStatus, JobStatus
from skyflow.models.support import check_request
from skyflow.models.task import Task
from skyflow.workflows.operation import OperationRequest
from tests.models.test_cluster import OFFER, fresh, launch, node, run_job


def idle(minutes: int, wait_for: str | None = None, *, down: bool = False, nodes: int = 1) -> ClusterState:
    """A cluster that is idle since second 10."""
    state = fresh()
    launch(state, "a", job=False, nodes=nodes)
    state.set_autostop(AutostopSetting(minutes=minutes, wait_for=wait_for, down=down), 0)
    state.release(Release(workflow_id="a"), 10, "life-2")
    return state


def due(state: ClusterState) -> list[Action]:
    return state.idle_due(IdleDue(uid=state.uid, epoch=state.epoch))


def stop(state: ClusterState) -> list[StartStop]:
    return [StartStop(f"idle-{state.uid}-{state.epoch}", state.epoch)]


# Who is logged in


def test_whoever_is_logged_in_is_asked_for_before_an_idle_cluster_goes() -> None:
    state = idle(5)
    assert due(state) == [AskSessions(1)]
    assert state.sessions_seen(1, None, 310) == stop(state)
    assert due(idle(5, "jobs")) == stop(idle(5, "jobs"))


@pytest.mark.parametrize(("ago", "since"), [(0, 310), (1, 309), (299, 11)])
def test_the_clock_counts_from_the_end_of_the_last_session(ago: float, since: float) -> None:
    state = idle(5)
    due(state)
    assert state.sessions_seen(1, ago, 310) == [ArmIdle(2, IdleRule(minutes=5, down=False))]
    assert state.idle_since == since
    assert due(state) == [AskSessions(2)]


def test_a_session_that_ended_long_ago_keeps_nothing() -> None:
    state = idle(5)
    due(state)
    assert state.sessions_seen(1, 300, 310) == stop(state)


def test_a_rule_of_no_minutes_is_not_asked_for_again_and_again() -> None:
    state = idle(0)
    due(state)
    state.sessions_seen(1, 0, 10)
    assert state.idle_since == 10 + state.check_seconds
    assert state.sessions_seen(2, 1, 80) == stop(state)


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    state = idle(5)
    due(state)
    state.reserve(Reserve(workflow_id="b", kind="exec"), 311)
    assert state.sessions_seen(1, None, 312) == state.sessions_seen(1, 0, 312) == []
    state.release(Release(workflow_id="b"), 313, "life-2")
    assert state.sessions_seen(1, None, 314) == []
    state.set_autostop(AutostopSetting(minutes=-1), 315)
    assert state.sessions_seen(state.epoch, 0, 316) == []


# Nothing is waited for

RULE = "the idle rule (wait_for: none) stopped its nodes"


def running(wait_for: str = "none") -> ClusterState:
    """A job of a launch that waits for it, since second 1; the rule of 5 minutes is from second 2."""
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.set_autostop(AutostopSetting(minutes=5, wait_for=wait_for), 2)
    return state


def test_a_rule_that_waits_for_nothing_counts_from_when_it_was_set() -> None:
    state = running()
    assert state.idle_since == 2
    _, actions = state.reserve(Reserve(workflow_id="b", kind="exec", job=JobRecord(id=0)), 100)
    assert Busy() not in actions
    state.release(Release(workflow_id="b"), 101, "life-2")
    assert (state.idle_since, state.epoch) == (2, 1)
    assert due(state) == stop(state)
    assert due(running("jobs")) == due(running("jobs_and_ssh")) == []


def test_what_runs_then_is_cancelled() -> None:
    state = running()
    reservation, actions = state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 302)
    assert not reservation.granted
    assert CancelOperation("a", keep_nodes=True, reason=RULE) in actions
    assert due(state) == [], "it is at it"
    state.release(Release(workflow_id="a"), 303, "life-2")
    actions = state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 304)
    assert [action.workflow_id for action in actions if isinstance(action, Grant)] == ["s"]


def test_what_runs_detached_is_cancelled_too() -> None:
    state = running()
    state.release(Release(workflow_id="a"), 3, "life-2")
    _, actions = state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 302)
    assert actions[:1] == [CancelJob(1, reason=RULE)]


def test_what_waits_when_it_is_taken_down_is_cancelled_with_the_reason() -> None:
    state = running()
    state.set_autostop(AutostopSetting(minutes=5, down=True, wait_for="none"), 2)
    state.reserve(Reserve(workflow_id="b", kind="exec", job=JobRecord(id=0)), 3)
    state.submit(Submission(workflow_id="b", job_id=2, spec="key", demand=Demand(cpus=OFFER.cpus)), 3)
    state.release(Release(workflow_id="b"), 3, "life-2")
    state.jobs[2].ranks = []
    state.reserve(Reserve(workflow_id="d", kind="down", epoch=state.epoch), 302)
    assert state.jobs[2].reason == "Cancelled: the idle rule (wait_for: none) took its nodes down."


def test_what_somebody_stops_has_no_rule_to_blame() -> None:
    state = running()
    state.release(Release(workflow_id="a"), 3, "life-2")
    _, actions = state.reserve(Reserve(workflow_id="s", kind="stop"), 302)
    assert actions[:1] == [CancelJob(1)]


def test_never_while_somebody_changes_the_cluster() -> None:
    state = running()
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 300)
    assert due(state) == []
    with pytest.raises(ClusterNotUpError, match="in use again"):
        state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 302)
    assert state.overdue(310) == []
    run_job(state, "b", 2)
    assert state.overdue(310) == [ArmIdle(state.epoch, IdleRule(minutes=5, down=False, wait_for="none"))]


def test_what_was_started_for_nobody_is_still_stopped_when_its_job_ends() -> None:
    state = idle(5, "none")
    state.reserve(Reserve(workflow_id="s", kind="stop"), 20)
    state.release(Release(workflow_id="s", nodes_stopped=True), 20, "life-2")
    reservation, _ = state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 60)
    assert reservation.stopped
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0)], offer=OFFER), 61)
    assert state.idle_since == 61, "a start begins it anew"
    actions = state.release(Release(workflow_id="b", discard=True), 62, "life-2")
    assert StartStop(f"again-life-1-{state.epoch}", state.epoch) in actions


# The setting


def test_what_there_is_to_wait_for() -> None:
    state = idle(5)
    with pytest.raises(UsageError, match="wait_for must be one of jobs_and_ssh, jobs, none, found the string 'ssh'"):
        state.set_autostop(AutostopSetting(minutes=5, wait_for="ssh"), 20)
    assert state.rule == IdleRule(minutes=5, down=False)
    state.set_autostop(AutostopSetting(minutes=5, wait_for="JOBS"), 20)
    assert state.view()["wait_for"] == "jobs"
    state.set_autostop(AutostopSetting(minutes=-1, wait_for="jobs"), 20)
    assert state.view()["wait_for"] is None


def test_what_an_idle_rule_waits_for_needs_an_idle_rule() -> None:
    task, ruled = Task(run="x"), Task.from_yaml_config({"run": "x", "resources": {"autostop": 10}})
    check_request(task, "c", wait_for="none", idle_minutes_to_autostop=5)
    check_request(task, "c", wait_for="jobs", down=True)
    check_request(ruled, "c", wait_for="none")
    with pytest.raises(UsageError, match=r"wait_for \(--wait-for\) is part of an idle rule: give its minutes too"):
        check_request(task, "c", wait_for="jobs")
    with pytest.raises(UsageError, match="cannot be none"):
        check_request(task, "c", wait_for="none", down=True)
    with pytest.raises(UsageError, match="must be one of"):
        check_request(ruled, "c", wait_for="nonsense")
    with pytest.raises(InvalidTaskError, match=r"autostop\.wait_for must be one of jobs_and_ssh, jobs, none"):
        Task.from_yaml_config({"resources": {"autostop": {"idle_minutes": 1, "wait_for": "nonsense"}}})


# The lease


def told(state: ClusterState) -> str:
    assert state.is_lease_due()
    state.leased = state.lease()
    return state.leased


def test_the_nodes_learn_what_changes_and_nothing_else() -> None:
    state = fresh()
    assert not state.is_lease_due()
    launch(state, "a", nodes=2)
    assert told(state) == str(3600 + LEASE_GRACE), "the safety rule is one, too"
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 5, "life-2")
    state.job_ended(JobEnd(job_id=1, status=JobStatus.SUCCEEDED), 6)
    state.observe([NodeStatus(node=node(rank), state="running") for rank in (0, 1)], 7)
    assert not state.is_lease_due()
    state.set_autostop(AutostopSetting(minutes=5), 8)
    assert told(state) == str(300 + LEASE_GRACE)
    state.set_autostop(AutostopSetting(minutes=5), 9)
    assert told(state) == str(300 + LEASE_GRACE), "the clock began anew, and so does the lease"
    state.set_autostop(AutostopSetting(minutes=-1), 10)
    assert told(state) == "none"
    state.nodes_away([1], [], 11)
    assert not state.is_lease_due()


def test_nodes_that_were_started_learn_it_anew() -> None:
    state = idle(5)
    told(state)
    state.nodes_away([], [0], 20)
    assert state.status is ClusterStatus.STOPPED and not state.is_lease_due()
    state.observe([NodeStatus(node=node(0), state="running")], 30)
    assert told(state) == str(300 + LEASE_GRACE)


def test_nodes_that_switched_themselves_off_are_still_taken_down() -> None:
    state = idle(5, down=True)
    actions = state.nodes_away([], [0], 311)
    assert actions[-1] == ArmIdle(2, IdleRule(minutes=5, down=True, wait_for="jobs"))
    assert state.overdue(311 + 301) == [actions[-1]]
    assert state.idle_due(IdleDue(uid="life-1", epoch=2)) == [StartDown("idle-life-1-2", 2)]
    other = idle(5)
    other.nodes_away([], [0], 311)
    assert (other.status, other.idle_since) == (ClusterStatus.STOPPED, None)


def test_also_if_the_cluster_thought_that_they_were_in_use() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.set_autostop(AutostopSetting(minutes=0, down=True), 1)
    state.nodes_away([], [0], 1000)
    state.job_ended(JobEnd(job_id=1, status=JobStatus.FAILED_DRIVER), 1001)
    [arm] = state.release(Release(workflow_id="a"), 1002, "life-2")
    assert isinstance(arm, ArmIdle)
    assert arm == ArmIdle(arm.epoch, IdleRule(minutes=24 * 60, down=True, wait_for="jobs")), "what it printed is there"
    assert state.idle_due(IdleDue(uid="life-1", epoch=arm.epoch)) == [StartDown(f"idle-life-1-{arm.epoch}", arm.epoch)]


def test_who_stops_a_cluster_by_hand_keeps_it_whatever_its_rule() -> None:
    state = idle(5, down=True)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 20)
    state.release(Release(workflow_id="s", nodes_stopped=True), 21, "life-2")
    assert (state.status, state.idle_since) == (ClusterStatus.STOPPED, None)


def test_idle_minutes_that_no_timer_holds_are_refused_wherever_they_come_from() -> None:
    most = 10 * 365 * 24 * 60
    assert AutostopSetting(minutes=most).minutes == most
    assert OperationRequest.parse({"cluster": "c", "idle_minutes_to_autostop": most}).cluster == "c"
    with pytest.raises(UsageError, match="idle minutes must be 5256000 at most"):
        OperationRequest.parse({"cluster": "c", "idle_minutes_to_autostop": most + 1})
    with pytest.raises(UsageError, match="idle minutes must be 5256000 at most"):
        check_request(Task(run="x"), None, idle_minutes_to_autostop=most + 1)
    with pytest.raises(InvalidTaskError, match="idle_minutes must be 10 years at most"):
        Task.from_yaml_config({"resources": {"autostop": {"idle_minutes": most + 1}}})
    for wrong in ({"minutes": most + 1}, {"minutes": 5, "down_after": most + 1}):
        with pytest.raises(ValidationError):
            AutostopSetting.model_validate(wrong)


# Its guardian need not look for it


@pytest.mark.parametrize("minutes", [-1, 5])
def test_a_guardian_that_was_calmed_hears_when_the_cluster_is_used_again(minutes: int) -> None:
    state = idle(minutes)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 20)
    assert Busy() in state.release(Release(workflow_id="s", nodes_stopped=True), 30, "life-2")
    assert state.idle_since is None, "there is no clock that would be stopped"
    state.calmed = True
    assert Busy() in state.reserve(Reserve(workflow_id="b", kind="start"), 40)[1]
    assert not state.calmed
    assert Busy() not in state.reserve(Reserve(workflow_id="c", kind="start"), 41)[1]


def test_the_guardian_of_a_new_life_was_not_calmed() -> None:
    state = idle(5)
    state.reserve(Reserve(workflow_id="d", kind="down"), 20)
    state.calmed = True
    state.release(Release(workflow_id="d", nodes_deleted=True), 30, "life-2")
    assert not state.calmed


def stop_by_hand(state: ClusterState) -> None:
    state.reserve(Reserve(workflow_id="x", kind="stop"), 10)
    state.release(Release(workflow_id="x", nodes_stopped=True), 11, "life-2")


def test_a_start_that_ended_half_way_is_stopped_also_if_its_nodes_are_seen_to_run_first() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stop_by_hand(state)
    state.reserve(Reserve(workflow_id="s", kind="start"), 20)
    [again] = [one for one in state.release(Release(workflow_id="s"), 21, "life-2") if isinstance(one, StartStop)]
    then = state.observe([NodeStatus(node=node(0), state="running")], 22)
    [anew] = [one for one in then if isinstance(one, StartStop)]
    assert again.epoch != anew.epoch == state.epoch, "the first is refused: the cluster counts as used again"


def test_what_waits_on_a_stopped_cluster_does_not_keep_its_guardian_looking() -> None:
    state = fresh()
    launch(state, "a")
    whole = Demand(cpus=OFFER.cpus)
    state.submit(Submission(workflow_id="a", job_id=1, spec="key", demand=whole), 1)
    state.job_started(1, 1)
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 2)
    state.submit(Submission(workflow_id="b", job_id=2, spec="key", demand=whole), 3)
    for name in ("a", "b"):
        state.release(Release(workflow_id=name), 4, "life-2")
    stop_by_hand(state)
    state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 12)
    assert state.awaits_start() and not state.is_active()
    state.calmed = True
    assert Busy() not in state.observe([NodeStatus(node=node(0), state="stopped")], 30) and state.calmed
    assert Busy() in state.reserve(Reserve(workflow_id="s", kind="start"), 40)[1] and not state.calmed
