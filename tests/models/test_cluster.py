"""The cluster's decisions, as state transitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import ClusterDoesNotExist, ClusterNotUpError, LaunchCancelledError, UsageError
from skyflow.models.admission import MAX_JOBS
from skyflow.models.cluster import RETRY_CHECKS, ClusterState
from skyflow.models.job import JobEnd, JobRecord
from skyflow.models.node import Node, NodeStatus, Offer
from skyflow.models.operation import (
    AbandonJob,
    Action,
    ArmIdle,
    AskSessions,
    AutostopSetting,
    Busy,
    CancelJob,
    CancelOperation,
    EndOperation,
    Expect,
    Grant,
    Guard,
    IdleDue,
    IdleRule,
    LifeEnded,
    NodesReport,
    NotifyLaunch,
    Place,
    Release,
    Reserve,
    StartDown,
    StartJob,
    StartStop,
    Submission,
)
from skyflow.models.schedule import Demand
from skyflow.models.status import ClusterStatus, JobStatus
from skyflow.models.usage import UpInterval

OFFER = Offer(
    cloud="local",
    region="local",
    zone="local-a",
    instance_type="local-2",
    cpus=2,
    memory=4,
    price=0,
    host="h",
    can_stop=True,
)


def node(rank: int) -> Node:
    return Node(
        id=f"n{rank}",
        rank=rank,
        address="127.1.1.1",
        port=22,
        user="me",
        host_key="ssh-ed25519 AAAA",
        internal_ip=f"127.1.1.{rank + 1}",
    )


def fresh() -> ClusterState:
    return ClusterState(name="dev", uid="life-1", rule=IdleRule(minutes=60, safety=True))


def launch(state: ClusterState, name: str, *, job: bool = True, nodes: int = 1, now: float = 0) -> None:
    """Reserve, and report nodes if there are none."""
    record = JobRecord(id=0, name="train", num_nodes=1) if job else None
    reservation, _ = state.reserve(Reserve(workflow_id=name, kind="launch", job=record), now)
    assert reservation.granted
    if not state.nodes:
        state.expect(Expect(uid=state.uid, place=Place(cloud="local", host="h")))
        made = [node(rank) for rank in range(nodes)]
        state.report_nodes(NodesReport(workflow_id=name, uid=state.uid, nodes=made, offer=OFFER), now)


def run_job(state: ClusterState, name: str, job_id: int = 1) -> list[object]:
    actions = state.submit(Submission(workflow_id=name, job_id=job_id, spec="key"), 1)
    state.job_started(job_id, 1)
    return list(actions)


def test_the_first_launch_is_granted_in_the_answer() -> None:
    state = fresh()
    reservation, actions = state.reserve(Reserve(workflow_id="a", kind="launch", job=JobRecord(id=0)), 0)
    assert reservation.granted
    assert reservation.job_id == 1
    assert actions == []
    assert state.status is ClusterStatus.INIT


def test_asking_again_is_the_same_request() -> None:
    state = fresh()
    ask = Reserve(workflow_id="a", kind="launch", job=JobRecord(id=0))
    first, _ = state.reserve(ask, 0)
    again, actions = state.reserve(ask, 1)
    assert (again, actions) == (first, [])
    assert len(state.operations) == len(state.jobs) == 1


def test_a_second_launch_waits_until_the_nodes_are_there() -> None:
    state = fresh()
    state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
    second, _ = state.reserve(Reserve(workflow_id="b", kind="launch"), 0)
    assert not second.granted
    assert second.waiting_for == "a"
    actions = state.report_nodes(NodesReport(workflow_id="a", uid="life-1", nodes=[node(0)], offer=OFFER), 1)
    granted = [a for a in actions if isinstance(a, Grant)]
    assert [g.workflow_id for g in granted] == ["b"]
    assert granted[0].reservation.nodes == [node(0)]


def test_c07_whoever_used_it_last_is_known() -> None:
    state = fresh()
    ask = Reserve(workflow_id="a", kind="launch", entry_point="skyflow launch  -c dev\ntask.yaml")
    state.reserve(ask, 0)
    assert state.view()["last_use"] == "skyflow launch -c dev task.yaml"
    state.report_nodes(NodesReport(workflow_id="a", uid="life-1", nodes=[node(0)], offer=OFFER), 1)
    state.reserve(Reserve(workflow_id="launch/dev/other", kind="exec"), 2)
    assert state.view()["last_use"] == "launch/dev/other", "a client that does not say what it is"
    for name in ("a", "launch/dev/other"):
        state.release(Release(workflow_id=name), 3, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop"), 4)
    assert state.view()["last_use"] == "launch/dev/other", "a stop uses nothing"
    state.release(Release(workflow_id="s", nodes_stopped=True), 5, "life-2")
    state.reserve(Reserve(workflow_id="b", kind="start", entry_point="skyflow start dev" + "!" * 5000), 6)
    assert state.view()["last_use"].startswith("skyflow start dev!") and len(state.view()["last_use"]) == 200


def test_e34_exec_needs_a_cluster_that_is_up() -> None:
    state = fresh()
    with pytest.raises(ClusterDoesNotExist):
        state.reserve(Reserve(workflow_id="x", kind="exec"), 0)
    state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
    with pytest.raises(ClusterNotUpError, match="not up yet"):
        state.reserve(Reserve(workflow_id="x", kind="exec"), 0)


def test_exec_shares_the_cluster_with_a_running_launch() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    reservation, _ = state.reserve(Reserve(workflow_id="x", kind="exec", job=JobRecord(id=0)), 2)
    assert reservation.granted
    assert reservation.job_id == 2


def test_nodes_are_guarded_before_they_exist() -> None:
    state = fresh()
    state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
    place = Place(cloud="local", host="h")
    assert state.expect(Expect(uid="life-1", place=place)) == [Guard((place,))]
    assert state.expect(Expect(uid="life-1", place=place)) == []
    with pytest.raises(ClusterDoesNotExist):
        state.expect(Expect(uid="another life", place=Place(cloud="aws")))


def test_idle_clock_starts_when_the_last_job_ends_and_stops_with_the_next() -> None:
    state = fresh()
    launch(state, "a")
    assert StartJob(1) in run_job(state, "a")
    assert not any(isinstance(a, ArmIdle) for a in state.release(Release(workflow_id="a"), 5, "life-2"))
    actions = state.job_ended(JobEnd(job_id=1, status=JobStatus.SUCCEEDED, returncode=0), 9)
    assert actions == [ArmIdle(1, IdleRule(minutes=60, safety=True))]
    assert state.idle_since == 9
    _, actions = state.reserve(Reserve(workflow_id="x", kind="exec"), 10)
    assert actions == [Busy()]


def test_an_idle_clock_that_ran_out_too_late_changes_nothing() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 5, "life-2")
    assert state.idle_due(IdleDue(uid="life-1", epoch=0)) == []
    assert state.idle_due(IdleDue(uid="other", epoch=1)) == []
    assert state.idle_due(IdleDue(uid="life-1", epoch=1)) == [AskSessions(1)]
    assert state.sessions_seen(1, None, 3605) == [StartDown("idle-life-1-1", 1)]
    # A launch comes in between: the down that was started is refused.
    state.reserve(Reserve(workflow_id="b", kind="launch"), 6)
    with pytest.raises(ClusterNotUpError, match="in use again"):
        state.reserve(Reserve(workflow_id="d", kind="down", epoch=1), 6)


def test_down_cancels_what_runs_and_waits_for_its_end() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 2)
    reservation, actions = state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    assert not reservation.granted
    assert [a for a in actions if isinstance(a, CancelOperation)] == [
        CancelOperation("a", keep_nodes=True),
        CancelOperation("b", keep_nodes=True),
    ]
    state.release(Release(workflow_id="b"), 4, "life-2")
    state.release(Release(workflow_id="a"), 4, "life-2")
    actions = state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 5)
    granted = [a for a in actions if isinstance(a, Grant)]
    assert [(g.workflow_id, g.reservation.places) for g in granted] == [("d", [Place(cloud="local", host="h")])]


def test_down_of_a_detached_job_cancels_the_job() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 2, "life-2")
    _, actions = state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    assert CancelJob(1) in actions


def test_a_down_that_waited_long_enough_takes_the_nodes_from_under_the_jobs() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 2, "life-2")
    state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    reservation, _ = state.reserve(Reserve(workflow_id="d", kind="down", force=True), 40)
    assert reservation.granted
    actions = state.release(Release(workflow_id="d", nodes_deleted=True), 41, "life-2")
    assert AbandonJob(1, "life-1") in actions
    assert state.is_over()


def test_a_launch_that_arrives_during_down_gets_a_new_life() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "x")
    state.set_autostop(AutostopSetting(minutes=0, notify="a"), 1)
    state.reserve(Reserve(workflow_id="d", kind="down"), 2)
    waiting, _ = state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 3)
    assert not waiting.granted
    actions = state.release(Release(workflow_id="d", nodes_deleted=True), 4, "life-2")
    assert LifeEnded("life-1", ("a",)) in actions
    (grant,) = [a for a in actions if isinstance(a, Grant)]
    assert (grant.workflow_id, grant.reservation.uid, grant.reservation.nodes) == ("b", "life-2", [])
    assert state.rule == IdleRule(minutes=60, safety=True)
    assert not state.guarded


def test_a_failed_setup_leaves_the_job_failed_and_the_safety_rule_armed() -> None:
    state = fresh()
    launch(state, "a")
    end = JobEnd(job_id=1, status=JobStatus.FAILED_SETUP, returncode=3)
    actions = state.release(Release(workflow_id="a", job=end), 5, "life-2")
    assert state.jobs[1].status is JobStatus.FAILED_SETUP
    assert actions == [ArmIdle(1, IdleRule(minutes=60, safety=True))]


def test_e25_the_users_rule_replaces_the_safety_rule_and_no_rule_leaves_the_users_alone() -> None:
    state = fresh()
    launch(state, "a")
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 1)
    assert state.rule is None
    state.set_autostop(AutostopSetting(minutes=7), 1)
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 1)
    assert state.rule == IdleRule(minutes=7, down=False)
    state.set_autostop(AutostopSetting(minutes=-1), 1)
    assert state.rule is None


def test_cancel_reaches_a_job_in_every_state() -> None:
    state = fresh()
    launch(state, "a")
    state.submit(Submission(workflow_id="a", job_id=1, spec="key"), 1)
    assert state.cancel_jobs([1], 1) == []  # its workflow is being started…
    assert state.job_started(1, 2) == [CancelJob(1)]  # …and hears of it then
    assert state.cancel_jobs([1], 1) == [CancelJob(1)]
    assert state.cancel_jobs([7], 1) == []
    state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 3)
    assert state.cancel_jobs(None, 4) == []


def test_a_job_that_was_cancelled_before_its_launch_submitted_it_never_runs() -> None:
    state = fresh()
    launch(state, "a")
    assert CancelOperation("a", keep_nodes=True) in state.cancel_jobs(None, 1)
    assert state.jobs[1].status is JobStatus.CANCELLED
    with pytest.raises(LaunchCancelledError):
        state.submit(Submission(workflow_id="a", job_id=1, spec="key"), 2)
    assert state.jobs[1].status is JobStatus.CANCELLED


def test_what_is_not_wanted_any_more_goes_also_when_its_job_ends_late() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 1)
    assert state.release(Release(workflow_id="a", discard=True), 2, "life-2") == []
    actions = state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 100)
    assert ArmIdle(1, IdleRule(minutes=0, safety=True, wait_for="jobs")) in actions


def test_what_is_not_wanted_any_more_stays_if_somebody_else_uses_it() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 1)
    state.reserve(Reserve(workflow_id="b", kind="exec"), 1)
    state.release(Release(workflow_id="a", discard=True), 2, "life-2")
    assert state.rule is None


def test_a_clock_that_nobody_heard_is_started_again() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=1, down=True), 0)
    state.release(Release(workflow_id="a"), 10, "life-2")
    assert state.overdue(60) == []
    assert state.overdue(71) == [ArmIdle(state.epoch, IdleRule(minutes=1))]
    state.reserve(Reserve(workflow_id="b", kind="exec"), 72)
    assert state.overdue(200) == []


def test_a_cluster_that_is_checked_rarely_is_checked_when_its_rule_is_overdue() -> None:
    state = fresh()
    assert state.seconds_to_overdue(0) == math.inf
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 100, "life-2")
    state.set_autostop(AutostopSetting(minutes=2), 100)
    late = RETRY_CHECKS * state.check_seconds
    assert [state.seconds_to_overdue(now) for now in (100, 219, 300)] == [120 + late, 1 + late, late]
    state.set_autostop(AutostopSetting(minutes=None), 100)
    assert state.seconds_to_overdue(100) == math.inf


def test_a_down_does_not_wait_for_the_job_of_a_launch_behind_it() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="x", kind="exec"), 2)
    state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 4)
    actions = state.release(Release(workflow_id="x"), 5, "life-2")
    assert [action.workflow_id for action in actions if isinstance(action, Grant)] == ["d"]


def test_a_cluster_that_lost_a_node_can_be_repaired_stopped_and_taken_down() -> None:
    state = fresh()
    launch(state, "a", nodes=2)
    assert state.nodes_away([1], [], 2) == []
    assert state.status is ClusterStatus.INIT
    with pytest.raises(ClusterNotUpError, match=r"lost its node\(s\) 1\. Make them anew: skyflow start dev"):
        state.reserve(Reserve(workflow_id="exec", kind="exec"), 3)
    for kind in ("launch", "start", "stop", "down"):
        again = state.model_copy(deep=True)
        again.reserve(Reserve(workflow_id=kind, kind=kind), 3)  # type: ignore[arg-type]
    state.release(Release(workflow_id="a"), 2, "life-2")
    state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    assert state.reserve(Reserve(workflow_id="b", kind="launch"), 3)[0].granted is False
    state.release(Release(workflow_id="d", nodes_deleted=True), 4, "life-2")
    assert state.lost == []


def test_a_launch_that_waited_cannot_end_the_life_of_another_ones_nodes() -> None:
    state = fresh()
    launch(state, "a")
    state.reserve(Reserve(workflow_id="b", kind="launch"), 1)
    state.release(Release(workflow_id="b", nodes_deleted=True), 2, "life-2")
    assert (state.uid, len(state.nodes)) == ("life-1", 1)


def test_what_a_launch_left_is_not_forgotten_by_the_next() -> None:
    state = fresh()
    place = Place(cloud="aws")
    state.reserve(Reserve(workflow_id="a", kind="launch"), 1)
    state.reserve(Reserve(workflow_id="b", kind="launch"), 1)
    state.expect(Expect(uid="life-1", place=place))
    state.release(Release(workflow_id="a", nodes_left=True), 2, "life-2")
    state.release(Release(workflow_id="b", nodes_deleted=True), 3, "life-2")
    assert (state.uid, state.places, state.is_over()) == ("life-1", [place], True)  # its guardian does the rest


def test_a_launch_after_a_discard_keeps_its_nodes() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 1)
    state.release(Release(workflow_id="a", discard=True), 2, "life-2")
    state.reserve(Reserve(workflow_id="b", kind="launch"), 3)
    state.set_autostop(AutostopSetting(minutes=None, only_replace_safety=True), 4)
    assert state.rule is None


def test_nodes_do_not_revive_a_cancelled_job() -> None:
    state = fresh()
    record = JobRecord(id=0, has_setup=True)
    state.reserve(Reserve(workflow_id="a", kind="launch", job=record), 0)
    state.cancel_jobs(None, 1)
    state.report_nodes(NodesReport(workflow_id="a", uid=state.uid, nodes=[node(0)], offer=OFFER), 2)
    assert state.jobs[1].status is JobStatus.CANCELLED


def test_an_action_for_a_job_that_has_gone_with_its_nodes_is_nothing() -> None:
    assert fresh().job_started(7, 1) == []


def test_a_jobs_end_is_told_to_its_launch_only_if_nobody_else_can() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    end = JobEnd(job_id=1, status=JobStatus.FAILED_DRIVER)
    assert NotifyLaunch("a", end) in state.job_ended(end, 2, notify=True)
    assert state.job_ended(end, 3, notify=True) == []


def test_jobs_go_to_the_nodes_with_the_fewest_jobs() -> None:
    state = fresh()
    launch(state, "a", nodes=3)
    run_job(state, "a")
    for number in (2, 3, 4):
        state.reserve(Reserve(workflow_id=f"x{number}", kind="exec", job=JobRecord(id=0)), 2)
        run_job(state, f"x{number}", number)
    assert [state.jobs[number].ranks for number in (1, 2, 3, 4)] == [[0], [1], [2], [0]]


def test_the_state_survives_continue_as_new() -> None:
    state = fresh()
    launch(state, "a", nodes=2)
    run_job(state, "a")
    assert ClusterState.model_validate_json(state.model_dump_json()) == state


EVENTS = (
    "launch exec stop start down release discard nodes stopped deleted submit cancel started end gone halted seen "
    "later purge purged part"
).split()


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3))), st.integers(1, 3))
def test_whatever_happens(events: list[tuple[str, int]], size: int) -> None:
    """Who changes nodes is alone, nobody waits in vain, a job starts once, never after its end, never on nothing."""
    state = fresh()
    starts: set[tuple[str, int]] = set()
    booked: dict[tuple[float, str], UpInterval] = {}
    for step, (event, which) in enumerate(events):
        name = f"w{which}"
        try:
            actions = happen(state, event, name, step, size)
        except (ClusterDoesNotExist, ClusterNotUpError, LaunchCancelledError):
            actions = []
        if any(isinstance(action, LifeEnded) and action.left for action in actions):
            booked.clear()  # the guardian ends what is open
        for action in actions:
            if isinstance(action, StartJob):
                assert (state.uid, action.job_id) not in starts
                starts.add((state.uid, action.job_id))
                assert not state.jobs[action.job_id].status.is_terminal()
                assert state.runs()
                assert not {*state.lost, *state.halted}.intersection(state.jobs[action.job_id].ranks)
        handed_over = {job.id for job in state.jobs.values() if job.spec}
        granted = [op for op in state.operations if op.granted and op.job_id not in handed_over]
        purging = any(op.purge for op in granted)
        assert purging or not any(op.exclusive for op in granted) or len(granted) == 1
        waiting = {op.job_id for op in state.operations if not op.granted}
        in_the_way = [job for job in state.active_jobs() if job.id not in waiting]
        assert not state.operations or granted or in_the_way, "somebody waits and nobody holds"
        assert state.nodes or not [job for job in in_the_way if job.ranks], "a job runs on nothing"
        assert state.is_active() or not state.runs() or state.idle_since is not None, "idle, and no clock runs"
        assert state.clock_rule() or state.runs() or state.idle_since is None, "a clock, and nothing that could be idle"
        counts = state.stopped and state.clock_rule() is not None and not state.awaits_start()
        assert state.is_active() or not counts or state.idle_since is not None, "stopped for good, and no clock runs"
        counts = state.runs() or state.stopped_unseen is not None
        there = [node for node in state.nodes if counts and node.rank not in {*state.lost, *state.halted}]
        assert {rank: one.node for rank, one in state.up.items()} == {one.rank: one.id for one in there}, "unseen cost"
        for interval in state.unbooked:  # what is told later about the same interval is its end
            booked[interval.started, interval.node] = interval
        state.unbooked = []
        assert {one.rank for one in booked.values() if one.ended is None} == set(state.up)


STARTERS = ("launch", "start")


def made(state: ClusterState, step: int, size: int) -> list[Node]:
    """All nodes of a cluster, after those that it had lost were made anew."""
    if not state.nodes:
        return [node(rank) for rank in range(size)]
    return [
        one.model_copy(update={"id": f"n{one.rank}-{step}"}) if one.rank in state.lost else one for one in state.nodes
    ]


def happen(state: ClusterState, event: str, name: str, step: int, size: int) -> list[Action]:
    """One thing that may happen at any time, as far as its sender may do it."""
    holder = next((op for op in state.operations if op.workflow_id == name), None)
    job = next((job for job in state.active_jobs() if job.launch == name), None)
    match event:
        case "launch" | "exec" | "stop" | "start" | "down" if holder is None:
            record = JobRecord(id=0) if event in ("launch", "exec") else None
            return state.reserve(Reserve(workflow_id=name, kind=event, job=record), step)[1]  # type: ignore[arg-type]
        case "release" | "discard" if holder is not None and holder.granted and holder.kind not in ("stop", "down"):
            return state.release(Release(workflow_id=name, discard=event == "discard"), step, f"life-{step}")
        case "stopped" if holder is not None and holder.granted and holder.kind == "stop":
            return state.release(Release(workflow_id=name, nodes_stopped=True), step, f"life-{step}")
        case "nodes" if holder is not None and holder.exclusive and holder.kind in STARTERS and holder.granted:
            nodes = made(state, step, size)
            return state.report_nodes(NodesReport(workflow_id=name, uid=state.uid, nodes=nodes, offer=OFFER), step)
        case "part" if holder is not None and holder.exclusive and holder.kind in STARTERS and holder.granted:
            if not state.runs():
                return []
            nodes = [one for one in state.nodes if one.rank not in state.lost]
            report = NodesReport(workflow_id=name, uid=state.uid, nodes=nodes, offer=OFFER, partial=True)
            return state.report_nodes(report, step)
        case "deleted" if holder is not None and holder.granted and holder.kind == "down":
            return state.release(Release(workflow_id=name, nodes_deleted=True), step, f"life-{step}")
        case "submit" if holder is not None and holder.granted and holder.job_id is not None and state.nodes:
            return state.submit(Submission(workflow_id=name, job_id=holder.job_id, spec="key"), step)
        case "cancel":
            return state.cancel_jobs(None, step)
        case "started" if job is not None and job.ranks:
            return state.job_started(job.id, step)
        case "end" if job is not None and job.status is JobStatus.RUNNING:
            return state.job_ended(JobEnd(job_id=job.id, status=JobStatus.SUCCEEDED), step)
        case "later" if state.nodes:
            return state.set_autostop(AutostopSetting(minutes=5, down_after=5), step)
        case "purge" if holder is not None and holder.kind in ("stop", "down"):
            holder.purge = True
            ask = Reserve(workflow_id=name, kind=holder.kind, force=True, purge=True)
            return state.reserve(ask, step)[1]
        case "purged" if holder is not None and holder.granted and holder.kind in ("stop", "down"):
            stop = holder.kind == "stop"
            done = Release(workflow_id=name, nodes_stopped=stop, nodes_deleted=not stop, purged=True)
            return state.release(done, step, f"life-{step}")
        case "gone" if state.nodes:
            return state.nodes_away([step % len(state.nodes)], [], step)
        case "halted" if state.nodes:
            return state.nodes_away([], [step % len(state.nodes)], step)
        case "seen" if state.nodes:
            return state.observe([NodeStatus(node=one, state="running") for one in state.nodes], step)
    return []


BOX = OFFER.model_copy(update={"cpus": 8, "accelerators": {"A100": 4}})


def queued(*wants: float, priority: int = 0, nodes: int = 1) -> ClusterState:
    """A cluster of boxes, with a job for each of these numbers of accelerators, in this order."""
    state = fresh()
    launch(state, "a", nodes=nodes, job=False)
    state.offer = BOX
    for number, count in enumerate(wants, 1):
        name = f"x{number}"
        record = JobRecord(id=0, priority=priority if number == len(wants) else 0)
        state.reserve(Reserve(workflow_id=name, kind="exec", job=record), number)
        demand = Demand(accelerators=count)
        state.submit(Submission(workflow_id=name, job_id=number, spec="key", demand=demand), number)
    return state


def waits_for(state: ClusterState) -> dict[int, str]:
    return {row["id"]: row["reason"] for row in state.rows() if row["reason"]}


def end(state: ClusterState, job_id: int) -> list[int]:
    """Ends a job; returns the jobs that start then."""
    state.job_started(job_id, 50)
    actions = state.job_ended(JobEnd(job_id=job_id, status=JobStatus.SUCCEEDED, returncode=0), 60)
    return [action.job_id for action in actions if isinstance(action, StartJob)]


def test_jobs_wait_for_accelerators_and_have_them_for_themselves() -> None:
    state = queued(3, 2, 1)
    assert [state.jobs[job_id].devices for job_id in (1, 2, 3)] == [{0: [0, 1, 2]}, {}, {}]
    assert waits_for(state) == {2: "Waits for 1 × A100:2.", 3: "Number 2 in line for 1 × A100:1."}
    assert end(state, 1) == [2, 3]
    assert [state.jobs[job_id].devices for job_id in (2, 3)] == [{0: [0, 1]}, {0: [2]}]


def test_the_higher_priority_goes_first() -> None:
    state = queued(4, 4, 4, priority=7)
    assert end(state, 1) == [3]
    assert end(state, 3) == [2]


def test_a_pending_job_is_kept_when_the_cluster_begins_a_new_history() -> None:
    state = ClusterState.model_validate_json(queued(4, 4).model_dump_json())
    assert state.is_active()
    assert end(state, 1) == [2]


def test_a_job_whose_turn_cannot_come_any_more_does_not_keep_what_is_left() -> None:
    state = queued(4, 4, nodes=1)
    actions = state.nodes_away([0], [], 9)
    assert NotifyLaunch("x2", JobEnd(job_id=2, status=JobStatus.FAILED_DRIVER, reason=state.jobs[2].reason)) in actions
    assert state.jobs[2].reason == "The cluster has lost nodes that it would need."


def stopped(state: ClusterState) -> None:
    state.reserve(Reserve(workflow_id="s", kind="stop"), 50)
    state.release(Release(workflow_id="s", nodes_stopped=True), 51, "life-2")
    assert state.status is ClusterStatus.STOPPED


def test_a_stopped_cluster_whose_nodes_are_all_gone_is_taken_down() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    [arm] = state.observe([], 60)
    assert isinstance(arm, ArmIdle) and arm.rule == IdleRule(minutes=0, safety=True, wait_for="jobs")
    assert state.idle_due(IdleDue(uid="life-1", epoch=arm.epoch)) == [StartDown(f"idle-life-1-{arm.epoch}", arm.epoch)]


def test_what_somebody_started_is_up_and_its_idle_clock_runs() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=5), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    assert state.up == {}
    actions = state.observe([NodeStatus(node=node(0), state="running")], 60)
    assert actions == [ArmIdle(state.epoch, IdleRule(minutes=5, down=False))]
    assert state.status is ClusterStatus.UP and set(state.up) == {0}


def test_an_idle_rule_that_stops_holds_for_what_is_left_of_a_cluster_too() -> None:
    state = fresh()
    launch(state, "a", job=False, nodes=2)
    state.set_autostop(AutostopSetting(minutes=5, wait_for="jobs"), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.nodes_away([1], [], 2)
    assert state.idle_due(IdleDue(uid="life-1", epoch=state.epoch)) == [
        StartStop(f"idle-life-1-{state.epoch}", state.epoch)
    ]
    reservation, _ = state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 400)
    assert reservation.granted


def test_a_launch_that_started_nodes_and_was_cancelled_stops_them_again() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=7), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    reservation, _ = state.reserve(Reserve(workflow_id="b", kind="launch"), 60)
    assert (reservation.granted, reservation.stopped) == (True, True)
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0)], offer=OFFER), 61)
    arm, again = state.release(Release(workflow_id="b", discard=True), 62, "life-2")
    assert arm == ArmIdle(state.epoch, IdleRule(minutes=7, down=False))
    assert again == StartStop(f"again-life-1-{state.epoch}", state.epoch)
    stopped(state)
    assert state.rule == IdleRule(minutes=7, down=False), "the user's own rule is what it was"


def test_started_nodes_that_nobody_wanted_stay_for_who_wants_them() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 60)
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0)], offer=OFFER), 61)
    state.submit(Submission(workflow_id="b", job_id=1, spec="key"), 61)
    state.job_started(1, 61)
    state.release(Release(workflow_id="b", discard=True), 62, "life-2")
    assert state.unwanted, "until its job has ended"
    state.reserve(Reserve(workflow_id="c", kind="exec"), 63)
    state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 64)
    [arm] = state.release(Release(workflow_id="c"), 65, "life-2")
    assert isinstance(arm, ArmIdle)


def test_a_stop_behind_a_down_finds_nothing_and_breaks_nothing() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="d", kind="down"), 2)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 2)
    state.release(Release(workflow_id="d", nodes_deleted=True), 3, "life-2")
    reservation, _ = state.reserve(Reserve(workflow_id="s", kind="stop"), 4)
    assert (reservation.granted, reservation.nodes) == (True, [])
    assert state.release(Release(workflow_id="s", nodes_stopped=True), 5, "life-3") == []
    assert state.is_over()


def waiting_on_stopped() -> ClusterState:
    """A stopped cluster, and a launch that waits for its job."""
    state = queued(4, 4)
    state.release(Release(workflow_id="a"), 10, "life-2")
    state.job_started(1, 10)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 11)
    state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 12)
    state.release(Release(workflow_id="x1"), 12, "life-2")
    state.release(Release(workflow_id="s", nodes_stopped=True), 13, "life-2")
    assert state.status is ClusterStatus.STOPPED
    assert [op.workflow_id for op in state.operations] == ["x2"]
    return state


def test_a_launch_that_waits_for_a_stopped_cluster_does_not_use_it() -> None:
    state = waiting_on_stopped()
    assert not state.is_active()
    state.reserve(Reserve(workflow_id="b", kind="start"), 60)
    [again] = state.release(Release(workflow_id="b"), 61, "life-2")
    assert isinstance(again, StartStop)
    assert state.reserve(Reserve(workflow_id="s2", kind="stop", epoch=again.epoch), 62)[0].granted


def test_a_start_that_finds_fewer_nodes_has_lost_the_others() -> None:
    state = fresh()
    launch(state, "a", job=False, nodes=2)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    state.reserve(Reserve(workflow_id="b", kind="start"), 60)
    strange = node(0).model_copy(update={"id": "left over"})
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0), strange], offer=OFFER), 61)
    assert ([one.id for one in state.nodes], state.lost, set(state.up)) == (["n0", "n1"], [1], {0})
    assert state.status is ClusterStatus.INIT


def test_a_job_for_more_nodes_than_run_keeps_nothing_up_and_nobody_waiting() -> None:
    state = queued(4, nodes=2)
    state.reserve(Reserve(workflow_id="wide", kind="exec", job=JobRecord(id=0, num_nodes=2)), 5)
    state.submit(Submission(workflow_id="wide", job_id=2, spec="key", demand=Demand(accelerators=4)), 5)
    state.reserve(Reserve(workflow_id="small", kind="exec", job=JobRecord(id=0)), 6)
    state.submit(Submission(workflow_id="small", job_id=3, spec="key", demand=Demand(accelerators=4)), 6)
    assert state.jobs[3].ranks == [], "the head of the line is not delayed"
    away = 1 - state.jobs[1].ranks[0]
    state.nodes_away([], [away], 7)
    assert state.status is ClusterStatus.INIT
    assert end(state, 1) == [3], "which cannot start any more"
    for name in ("a", "x1", "wide", "small"):
        state.release(Release(workflow_id=name), 70, "life-2")
    end(state, 3)
    assert not state.is_active() and state.idle_since is not None
    assert state.jobs[2].status is JobStatus.PENDING


def test_a_rule_that_the_nodes_cannot_follow_becomes_the_safety_rule() -> None:
    state = fresh()
    state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
    state.set_autostop(AutostopSetting(minutes=5), 1)
    spot = OFFER.model_copy(update={"can_stop": False})
    state.report_nodes(NodesReport(workflow_id="a", uid="life-1", nodes=[node(0)], offer=spot), 2)
    assert state.rule == IdleRule(minutes=60, safety=True)


def test_an_idle_stop_that_failed_is_not_tried_again_at_once() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=0), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 2)
    state.release(Release(workflow_id="s"), 3, "life-2")
    assert state.idle_since == 3 + 5 * state.check_seconds


def test_a_forced_stop_does_not_mind_who_only_waits() -> None:
    state = queued(4, 4)
    state.release(Release(workflow_id="a"), 10, "life-2")
    state.job_started(1, 10)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 11)
    state.release(Release(workflow_id="x1"), 12, "life-2")
    assert not state.reserve(Reserve(workflow_id="s", kind="stop"), 13)[0].granted
    assert state.reserve(Reserve(workflow_id="s", kind="stop", force=True), 40)[0].granted


def test_a_cluster_takes_so_many_jobs_and_no_more() -> None:
    state = queued(*[4.0] * 3)
    state.jobs |= {number: state.jobs[3].model_copy(update={"id": number}) for number in range(4, MAX_JOBS + 1)}
    with pytest.raises(UsageError, match="1,000 jobs that have not ended"):
        state.reserve(Reserve(workflow_id="more", kind="exec", job=JobRecord(id=0)), 9)
    state.reserve(Reserve(workflow_id="no job", kind="exec"), 9)


def test_another_workflow_goes_on_with_an_operation() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop"), 2)
    state.take_over("s", "s2")
    state.take_over("unknown", "s3")
    reservation, actions = state.reserve(Reserve(workflow_id="s2", kind="stop"), 3)
    assert (reservation.granted, actions) == (True, [])
    assert state.release(Release(workflow_id="s"), 4, "life-2") == []
    state.release(Release(workflow_id="s2", nodes_stopped=True), 5, "life-2")
    assert state.status is ClusterStatus.STOPPED


def test_a_start_that_failed_leaves_nothing_running() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    stopped(state)
    state.reserve(Reserve(workflow_id="b", kind="start"), 60)
    again = StartStop(f"again-life-1-{state.epoch}", state.epoch)
    assert state.release(Release(workflow_id="b"), 61, "life-2") == [again]
    state.reserve(Reserve(workflow_id="s2", kind="stop", epoch=state.epoch), 62)
    assert state.release(Release(workflow_id="s2", nodes_stopped=True), 63, "life-2") == [Busy()]


def test_how_the_nodes_are_reached() -> None:
    state = fresh()
    assert state.access() == {"uid": "life-1", "ways": "", "nodes": [], "ports": []}
    state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
    report = NodesReport(workflow_id="a", uid="life-1", nodes=[node(1), node(0)], offer=OFFER, ports=["80"])
    state.report_nodes(report, 0)
    found = state.access()
    assert [one["rank"] for one in found["nodes"]] == [0, 1]
    assert found["ports"] == ["80"]
    assert found["ways"] == state.view()["ways"] != ""
    again, _ = state.reserve(Reserve(workflow_id="b", kind="launch"), 0)
    assert again.ports == ["80"]
    state.nodes[0] = state.nodes[0].model_copy(update={"port": 23})
    assert state.view()["ways"] != found["ways"]
    state.reserve(Reserve(workflow_id="d", kind="down"), 1)
    for name in ("a", "b"):
        state.release(Release(workflow_id=name), 1, "life-2")
    state.release(Release(workflow_id="d", nodes_deleted=True), 2, "life-2")
    assert state.access() == {"uid": "life-2", "ways": "", "nodes": [], "ports": []}


def test_a_rank_that_has_ended_makes_room_before_the_job_says_so() -> None:
    state = queued(4, 4)
    state.job_started(1, 10)
    assert state.ranks_ended(1, [0], 11) == [StartJob(2)]
    assert state.jobs[1].status is JobStatus.RUNNING
    assert state.ranks_ended(1, [0], 12) == [] == state.ranks_ended(9, [0], 12)


def later(minutes: int = 5, down_after: int = 60) -> ClusterState:
    """An idle cluster of one node that is stopped after so many minutes, and taken down so many after that."""
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=minutes, down_after=down_after), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    return state


def test_a_cluster_is_stopped_when_idle_and_taken_down_later() -> None:
    state = later()
    assert state.idle_due(IdleDue(uid="life-1", epoch=1)) == [AskSessions(1)]
    assert state.sessions_seen(1, None, 301) == [StartStop("idle-life-1-1", 1)]
    state.reserve(Reserve(workflow_id="s", kind="stop", epoch=1), 301)
    actions = state.release(Release(workflow_id="s", nodes_stopped=True), 310, "life-2")
    assert actions[-1] == ArmIdle(2, IdleRule(minutes=60, down=True, wait_for="jobs"))
    assert (state.idle_since, state.view()["down_after"]) == (310, 60)
    assert state.idle_due(IdleDue(uid="life-1", epoch=1)) == [], "the clock from before the stop"
    assert state.overdue(310 + 3600) == []
    assert state.overdue(310 + 3601) == [ArmIdle(2, IdleRule(minutes=60, down=True, wait_for="jobs"))]
    assert state.idle_due(IdleDue(uid="life-1", epoch=2)) == [StartDown("idle-life-1-2", 2)]
    assert state.reserve(Reserve(workflow_id="d", kind="down", epoch=2), 4000)[0].granted


def test_a_start_ends_the_countdown_to_the_down() -> None:
    state = later()
    stopped(state)
    epoch = state.epoch
    assert Busy() in state.reserve(Reserve(workflow_id="b", kind="start"), 60)[1]
    assert state.idle_due(IdleDue(uid="life-1", epoch=epoch)) == []
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0)], offer=OFFER), 61)
    assert state.idle_due(IdleDue(uid="life-1", epoch=epoch)) == []
    [arm] = state.release(Release(workflow_id="b"), 62, "life-2")
    assert arm == ArmIdle(epoch + 1, IdleRule(minutes=5, down=False, down_after=60)), "the rule counts again"


def test_what_somebody_started_in_the_clouds_console_is_not_taken_down_by_the_clock_of_the_stop() -> None:
    state = later()
    stopped(state)
    epoch = state.epoch
    assert state.observe([NodeStatus(node=node(0), state="running")], 90) == [
        ArmIdle(epoch + 1, IdleRule(minutes=5, down=False, down_after=60))
    ]
    assert (state.idle_since, state.idle_due(IdleDue(uid="life-1", epoch=epoch))) == (90, [])


def test_jobs_that_wait_keep_a_stopped_cluster() -> None:
    state = waiting_on_stopped()
    [] = state.set_autostop(AutostopSetting(minutes=5, down_after=60), 20)
    assert state.idle_since is None
    state.cancel_jobs(None, 30)
    assert state.release(Release(workflow_id="x2"), 31, "life-2") == [
        ArmIdle(state.epoch, IdleRule(minutes=60, down=True, wait_for="jobs"))
    ]
    assert state.idle_since == 31


def test_a_stopped_cluster_takes_what_can_matter_to_it() -> None:
    state = later()
    stopped(state)
    assert state.set_autostop(AutostopSetting(minutes=-1), 60) == [Busy()]
    assert (state.rule, state.idle_since) == (None, None)
    with pytest.raises(ClusterNotUpError, match="is STOPPED: an idle rule is for nodes that run"):
        state.set_autostop(AutostopSetting(minutes=5), 61)
    [arm] = state.set_autostop(AutostopSetting(minutes=5, down_after=0), 62)
    assert arm == ArmIdle(state.epoch, IdleRule(minutes=0, down=True, wait_for="jobs"))


@pytest.mark.parametrize(
    "setting",
    [
        AutostopSetting(minutes=5, down=True, down_after=5),
        AutostopSetting(minutes=-1, down_after=5),
        AutostopSetting(minutes=5, down_after=-5),
    ],
)
def test_a_rule_that_says_two_things_is_refused(setting: AutostopSetting) -> None:
    state = later()
    with pytest.raises(UsageError, match="down_after"):
        state.set_autostop(setting, 2)
    assert state.rule == IdleRule(minutes=5, down=False, down_after=60)


def test_a_graceful_stop_gives_time_to_what_it_cancels() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 2)
    _, actions = state.reserve(Reserve(workflow_id="s", kind="stop", grace=90), 3)
    assert [a for a in actions if isinstance(a, CancelOperation)] == [
        CancelOperation("a", keep_nodes=True, grace=90),
        CancelOperation("b", keep_nodes=True, grace=90),
    ]
    assert state.cancel_jobs([1], 4) == [CancelJob(1, 90)], "when the launch passes it on"


def test_a_purged_down_leaves_to_the_guardian_what_it_could_not_delete() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.unbooked = []
    state.reserve(Reserve(workflow_id="d", kind="down", purge=True), 2)
    [ended] = state.release(Release(workflow_id="d", nodes_deleted=True, purged=True), 62, "life-2")
    assert ended == LifeEnded("life-1", (), (Place(cloud="local", host="h"),))
    assert (state.is_over(), state.up, state.unbooked) == (True, {}, []), "the ledger's intervals stay open"


def test_a_purge_does_not_wait_for_who_cannot_end() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    assert state.reserve(Reserve(workflow_id="s", kind="stop"), 2)[0].granted
    state.reserve(Reserve(workflow_id="d", kind="down", purge=True), 3)
    state.reserve(Reserve(workflow_id="b", kind="launch", job=JobRecord(id=0)), 4)
    assert not state.reserve(Reserve(workflow_id="d", kind="down", force=True), 40)[0].granted
    assert state.reserve(Reserve(workflow_id="d", kind="down", force=True, purge=True), 40)[0].granted
    actions = state.release(Release(workflow_id="d", nodes_deleted=True, purged=True), 100, "life-2")
    assert EndOperation("s") in actions
    [grant] = [action for action in actions if isinstance(action, Grant)]
    assert (grant.workflow_id, grant.reservation.uid) == ("b", "life-2")
    assert state.release(Release(workflow_id="s", nodes_stopped=True), 101, "life-3") == []


def test_a_purged_stop_is_believed_until_the_cloud_says_otherwise() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=5), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop", purge=True), 2)
    state.release(Release(workflow_id="s", nodes_stopped=True, purged=True), 62, "life-2")
    assert (state.status, set(state.up)) == (ClusterStatus.STOPPED, {0}), "nobody has seen it stopped, so it counts"
    assert state.observe([NodeStatus(node=node(0), state="running")], 600) == [StartStop("again-life-1-1")]
    assert state.status is ClusterStatus.UP
    assert (state.up[0].started, state.unbooked) == (0, [state.up[0]]), "what it cost meanwhile is in the ledger"
    assert state.reserve(Reserve(workflow_id="t", kind="stop"), 601)[0].granted


def test_a_purge_while_nodes_are_being_made_leaves_them_to_the_guardian() -> None:
    state = fresh()
    state.reserve(Reserve(workflow_id="launch/dev/1", kind="launch"), 0)
    state.expect(Expect(uid="life-1", place=Place(cloud="local")))
    assert state.reserve(Reserve(workflow_id="d", kind="down", purge=True, force=True), 30)[0].granted
    actions = state.release(Release(workflow_id="d", nodes_deleted=True), 31, "life-2")
    [ended] = [one for one in actions if isinstance(one, LifeEnded)]
    assert ended.left == (Place(cloud="local"),), "the launch may make them yet"


def test_what_a_purge_of_an_adopted_cluster_leaves_has_the_tags_that_it_was_made_with() -> None:
    state = fresh()
    state.deployment = "old"
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.next_deployment = "new"
    state.reserve(Reserve(workflow_id="d", kind="down", purge=True), 2)
    actions = state.release(Release(workflow_id="d", nodes_deleted=True, purged=True), 3, "life-2")
    [ended] = [one for one in actions if isinstance(one, LifeEnded)]
    assert (ended.deployment, state.deployment) == ("old", "new")


def test_a_purged_stop_that_came_true_is_forgotten() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop", purge=True), 2)
    state.release(Release(workflow_id="s", nodes_stopped=True, purged=True), 62, "life-2")
    state.observe([NodeStatus(node=node(0), state="stopped")], 600)
    assert (state.up, state.unbooked[-1].ended) == ({}, 62), "it was stopped when its user said so"
    state.observe([NodeStatus(node=node(0), state="running")], 9000)
    assert state.up[0].started == 9000, "somebody started it much later"


def purged_stop() -> ClusterState:
    """A cluster that counts as stopped since 62, though nobody has seen that."""
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop", purge=True), 2)
    state.release(Release(workflow_id="s", nodes_stopped=True, purged=True), 62, "life-2")
    return state


def test_a_start_after_a_purged_stop_leaves_no_gap_in_the_ledger() -> None:
    state = purged_stop()
    state.reserve(Reserve(workflow_id="b", kind="start"), 600)
    state.report_nodes(NodesReport(workflow_id="b", uid="life-1", nodes=[node(0)], offer=OFFER), 601)
    assert (state.status, state.up[0].started, state.up[0].ended) == (ClusterStatus.UP, 0, None)
    assert len(state.unbooked) == 1


def test_a_down_after_a_purged_stop_ends_what_is_open_in_the_ledger() -> None:
    state = purged_stop()
    state.reserve(Reserve(workflow_id="d", kind="down"), 600)
    state.release(Release(workflow_id="d", nodes_deleted=True), 601, "life-2")
    assert (state.up, state.unbooked[-1].ended) == ({}, 601)


def test_a_cluster_that_is_gone_after_a_purged_stop_is_not_stopped_again() -> None:
    state = purged_stop()
    actions = state.observe([], 600)
    assert state.lost == [0] and not any(isinstance(one, StartStop) for one in actions)
    assert (state.up, state.unbooked[-1].ended) == ({}, 600)


def test_a_failed_start_of_a_cluster_that_is_taken_down_later_is_stopped_again() -> None:
    state = later()
    stopped(state)
    state.reserve(Reserve(workflow_id="b", kind="start"), 60)
    [again] = [one for one in state.release(Release(workflow_id="b"), 61, "life-2") if isinstance(one, StartStop)]
    assert state.reserve(Reserve(workflow_id="t", kind="stop", epoch=again.epoch), 62)[0].granted


def test_a_refused_stop_of_a_rule_that_waits_for_nothing_is_not_tried_again_at_once() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=5, wait_for="none"), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    assert state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 301)[0].granted
    state.release(Release(workflow_id="s"), 302, "life-2")
    assert state.overdue(361) == []


def test_what_nobody_wants_and_the_cloud_does_not_stop_is_tried_again_later() -> None:
    state = later()
    stopped(state)
    state.reserve(Reserve(workflow_id="launch/dev/1", kind="launch"), 60)
    state.report_nodes(NodesReport(workflow_id="launch/dev/1", uid="life-1", nodes=[node(0)], offer=OFFER), 61)
    actions = state.release(Release(workflow_id="launch/dev/1", discard=True), 62, "life-2")
    [again] = [one for one in actions if isinstance(one, StartStop)]
    state.reserve(Reserve(workflow_id="s", kind="stop", epoch=again.epoch), 63)
    actions = state.release(Release(workflow_id="s"), 64, "life-2")
    assert not any(isinstance(one, StartStop) for one in actions)
    assert state.overdue(65) == []
    assert state.overdue(64 + RETRY_CHECKS * 60 + 1) == [StartStop(f"again-life-1-{state.epoch}", state.epoch)]


def in_state(name: str) -> ClusterState:
    state = fresh()
    if name == "being made":
        state.reserve(Reserve(workflow_id="a", kind="launch"), 0)
        return state
    launch(state, "a", job=False, nodes=2)
    state.release(Release(workflow_id="a"), 1, "life-2")
    match name:
        case "stopped":
            stopped(state)
        case "one lost":
            state.nodes_away([1], [], 2)
        case "all lost":
            state.nodes_away([0, 1], [], 2)
        case "one stopped":
            state.nodes_away([], [1], 2)
        case "being stopped":
            state.reserve(Reserve(workflow_id="s", kind="stop"), 2)
        case "being taken down":
            state.reserve(Reserve(workflow_id="d", kind="down"), 2)
    return state


VERBS = ("launch", "exec", "stop", "start", "down", "autostop")
ANSWERS = {
    "absent": "now ClusterDoesNotExist ClusterDoesNotExist ClusterDoesNotExist ClusterDoesNotExist ClusterNotUpError",
    "being made": "waits ClusterNotUpError ClusterNotUpError waits waits now",
    "up": "now now now now now now",
    "stopped": "now ClusterNotUpError now now now ClusterNotUpError",
    "one lost": "now ClusterNotUpError now now now now",
    "all lost": "ClusterNotUpError ClusterNotUpError now ClusterNotUpError now now",
    "one stopped": "now ClusterNotUpError now now now now",
    "being stopped": "waits ClusterNotUpError waits waits waits now",
    "being taken down": "waits ClusterNotUpError waits waits waits now",
}
"""What each verb gets in each state of a cluster, in the order of VERBS."""


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name in ANSWERS for verb in VERBS])
def test_every_verb_in_every_state(name: str, verb: str) -> None:
    state = fresh() if name == "absent" else in_state(name)
    expected = ANSWERS[name].split()[VERBS.index(verb)]
    before = state.model_copy(deep=True)
    try:
        if verb == "autostop":
            state.set_autostop(AutostopSetting(minutes=5), 9)
            found = "now"
        else:
            asked = Reserve(workflow_id="x", kind=verb)  # type: ignore[arg-type]
            found = "now" if state.reserve(asked, 9)[0].granted else "waits"
    except (ClusterDoesNotExist, ClusterNotUpError) as error:
        found = type(error).__name__
        assert state == before, "nothing is half done"
        assert "\n" not in str(error)
    assert found == expected


def test_c08_an_idle_cluster_is_autostopping_until_it_has_stopped() -> None:
    state = later()
    state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 301)
    assert state.status is ClusterStatus.AUTOSTOPPING
    with pytest.raises(ClusterNotUpError, match="being stopped"):
        state.reserve(Reserve(workflow_id="x", kind="exec"), 302)
    assert not state.reserve(Reserve(workflow_id="b", kind="launch"), 302)[0].granted
    state.release(Release(workflow_id="s", nodes_stopped=True), 303, "life-2")
    assert state.status is ClusterStatus.STOPPED


def test_a_down_that_waits_says_what_for() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    assert state.view()["reason"] == ""
    state.reserve(Reserve(workflow_id="d", kind="down", grace=600), 2)
    assert (state.view()["status"], state.view()["reason"]) == ("UP", "to be taken down once job 1 has ended")
    state.job_ended(JobEnd(job_id=1, status=JobStatus.CANCELLED), 3)
    assert state.view()["reason"] == "to be taken down once a launch has ended"
    state.release(Release(workflow_id="a"), 4, "life-2")
    assert state.view()["reason"] == "being taken down"


def test_a_stop_that_waits_says_what_for() -> None:
    state = fresh()
    launch(state, "a", job=False, nodes=4)
    for number in range(1, 5):
        name = f"launch{number}"
        state.reserve(Reserve(workflow_id=name, kind="launch", job=JobRecord(id=0)), 1)
        run_job(state, name, number)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 2)
    assert state.view()["reason"] == "to be stopped once job 1, job 2, job 3 and 2 more have ended"
    assert "to be stopped" in state.details()
    for number in range(1, 5):
        state.job_ended(JobEnd(job_id=number, status=JobStatus.CANCELLED), 3)
        state.release(Release(workflow_id=f"launch{number}"), 4, "life-2")
    assert state.view()["reason"] == "to be stopped once a launch has ended"
    state.release(Release(workflow_id="a"), 4, "life-2")
    assert state.view()["reason"] == "being stopped"


def test_a_down_that_waits_for_a_stop_says_so() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop"), 2)
    state.reserve(Reserve(workflow_id="d", kind="down"), 3)
    assert state.view()["reason"] == "being stopped; to be taken down once a stop has ended"


def test_an_idle_cluster_that_goes_has_its_status_for_that() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.set_autostop(AutostopSetting(minutes=5), 1)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.reserve(Reserve(workflow_id="s", kind="stop", epoch=state.epoch), 400)
    assert (state.view()["status"], state.view()["reason"]) == ("AUTOSTOPPING", "being stopped")


@pytest.mark.parametrize(
    ("nodes", "gone", "off", "reason"),
    [
        (2, [1], [], "1 of 2 nodes lost"),
        (3, [0, 2], [], "2 of 3 nodes lost"),
        (2, [], [1], "1 of 2 nodes stopped"),
        (2, [1], [0], "1 of 2 nodes lost, the other stopped"),
        (3, [1], [0, 2], "1 of 3 nodes lost, the others stopped"),
        (3, [1], [2], "1 of 3 nodes lost, 1 stopped"),
    ],
)
def test_a_cluster_says_what_became_of_its_nodes(nodes: int, gone: list[int], off: list[int], reason: str) -> None:
    state = fresh()
    launch(state, "a", job=False, nodes=nodes)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.nodes_away(gone, off, 2)
    assert (state.status, state.view()["reason"]) == (ClusterStatus.INIT, reason)


def test_a_cluster_that_lost_a_node_and_is_stopped_says_so() -> None:
    state = fresh()
    launch(state, "a", job=False, nodes=2)
    state.release(Release(workflow_id="a"), 1, "life-2")
    state.nodes_away([1], [], 2)
    state.reserve(Reserve(workflow_id="s", kind="stop"), 3)
    state.release(Release(workflow_id="s", nodes_stopped=True), 4, "life-2")
    assert (state.status, state.view()["reason"]) == (ClusterStatus.INIT, "1 of 2 nodes lost, the other stopped")


def test_a_start_that_waited_long_does_not_overtake_a_stop() -> None:
    state = fresh()
    launch(state, "a")
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 2, "life-2")
    assert not state.reserve(Reserve(workflow_id="s", kind="stop", grace=600), 3)[0].granted
    start = Reserve(workflow_id="b", kind="start", force=True)
    assert not state.reserve(start, 40)[0].granted, "it would find the nodes up, and the stop would come after it"
    assert state.reserve(Reserve(workflow_id="s", kind="stop", grace=600, force=True), 640)[0].granted
