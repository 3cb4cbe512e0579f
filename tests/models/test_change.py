"""What those who listen to a cluster are told: every change of state once, in order; without them, nothing is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skyflow.errors import SkyflowError
from skyflow.models.change import KEEP_SECONDS, MAX_UNTOLD, Change, Listener, Seen, mark_told, note, why
from skyflow.models.cluster import ClusterState
from skyflow.models.job import JobEnd, JobRecord
from skyflow.models.node import NodeStatus
from skyflow.models.operation import Expect, NodesReport, Place, Release, Reserve, Submission
from skyflow.models.status import JobStatus
from tests.models.test_cluster import OFFER, fresh, node


def ask(state: ClusterState, name: str, *, job: JobRecord | None = None, webhook: bool = True, now: float = 0) -> None:
    kind = name.partition("/")[0]
    state.reserve(Reserve(workflow_id=name, kind=kind, job=job, webhook=webhook), now)  # type: ignore[arg-type]
    note(state, now)


def made(state: ClusterState, name: str, nodes: int = 1) -> None:
    state.expect(Expect(uid=state.uid, place=Place(cloud="local")))
    report = NodesReport(workflow_id=name, uid=state.uid, nodes=[node(rank) for rank in range(nodes)], offer=OFFER)
    state.report_nodes(report, 1)
    note(state, 1)


def run(state: ClusterState, name: str, job_id: int = 1) -> None:
    state.submit(Submission(workflow_id=name, job_id=job_id, spec="key"), 2)
    note(state, 2)
    state.job_started(job_id, 3)
    note(state, 3)


def end(state: ClusterState, job_id: int = 1, status: JobStatus = JobStatus.SUCCEEDED) -> None:
    state.job_ended(JobEnd(job_id=job_id, status=status, returncode=0, reason="why"), 4)
    note(state, 4)


def release(state: ClusterState, name: str, uid: str = "life-2", **how: bool) -> None:
    state.release(Release(workflow_id=name, **how), 5, uid)  # type: ignore[arg-type]
    note(state, 5)


def told(state: ClusterState, listener: Listener = "webhook") -> list[str]:
    return [short(change) for change in state.untold(listener)]


def short(change: Change) -> str:
    who = change.job_id if change.kind == "job" else change.rank
    return " ".join(str(word) for word in (change.kind, who, change.before or "-", change.after) if word is not None)


def up(*, webhook: bool = True, **job: bool) -> ClusterState:
    """A cluster with one job that is over."""
    state = fresh()
    record = JobRecord(id=0, name="train", user="ada", **job)  # type: ignore[arg-type]
    ask(state, "launch/dev/1", job=record, webhook=webhook)
    made(state, "launch/dev/1")
    run(state, "launch/dev/1")
    end(state)
    release(state, "launch/dev/1")
    return state


def test_the_story_of_a_launch() -> None:
    state = up(has_setup=True)
    assert told(state) == [
        "cluster - INIT",
        "cluster INIT UP",
        "job 1 - SETTING_UP",
        "job 1 SETTING_UP PENDING",
        "job 1 PENDING RUNNING",
        "job 1 RUNNING SUCCEEDED",
    ]
    assert [change.number for change in state.unposted] == [1, 2, 3, 4, 5, 6]
    assert [change.time for change in state.unposted] == [0, 1, 1, 2, 3, 4]
    last = state.unposted[-1]
    assert (last.id, last.job_name, last.user, last.reason) == ("dev/life-1/6", "train", "ada", "why")
    assert (last.place, last.workflow_id, last.returncode) == (OFFER.place, "launch/dev/1", 0)
    assert state.uncalled == []


def test_if_nobody_listens_nothing_is_kept() -> None:
    state = up(webhook=False)
    assert (state.unposted, state.uncalled, state.noted, state.seen) == ([], [], 0, Seen())


def test_who_listens_later_is_told_only_what_changes_from_then_on() -> None:
    state = up(webhook=False)
    ask(state, "stop/dev/1")
    release(state, "stop/dev/1", nodes_stopped=True)
    assert told(state) == ["cluster UP STOPPED"]
    mark_told(state, "webhook", 1, 6)
    assert told(state) == []


def test_stop_start_and_down_with_the_reasons() -> None:
    state = up()
    mark_told(state, "webhook", state.noted, 5)
    ask(state, "stop/dev/idle-life-1-1")
    release(state, "stop/dev/idle-life-1-1", nodes_stopped=True)
    ask(state, "start/dev/1")
    made(state, "start/dev/1")
    release(state, "start/dev/1")
    ask(state, "down/dev/1")
    release(state, "down/dev/1", nodes_deleted=True)
    assert told(state) == ["cluster UP STOPPED", "cluster STOPPED UP", "cluster UP DOWN"]
    assert [change.reason for change in state.unposted] == ["It was idle.", "", "Somebody took it down."]
    assert {change.uid for change in state.unposted} == {"life-1"}
    assert state.unposted[-1].num_nodes == 1
    assert state.is_over()


def test_a_down_that_takes_the_nodes_from_under_a_job_ends_it_first_and_the_next_life_begins_anew() -> None:
    state = fresh()
    ask(state, "launch/dev/1", job=JobRecord(id=0))
    made(state, "launch/dev/1")
    run(state, "launch/dev/1")
    release(state, "launch/dev/1")
    ask(state, "down/dev/1")
    ask(state, "launch/dev/2", job=JobRecord(id=0))
    mark_told(state, "webhook", state.noted, 5)
    state.reserve(Reserve(workflow_id="down/dev/1", kind="down", force=True, webhook=True), 6)
    release(state, "down/dev/1", nodes_deleted=True)
    assert told(state) == ["job 1 RUNNING CANCELLED", "cluster UP DOWN", "cluster - INIT"]
    assert [change.uid for change in state.unposted] == ["life-1", "life-1", "life-2"]


def test_nodes_that_others_stop_or_delete_and_that_come_back() -> None:
    state = fresh()
    ask(state, "launch/dev/1")
    made(state, "launch/dev/1", nodes=2)
    release(state, "launch/dev/1")
    mark_told(state, "webhook", state.noted, 5)
    statuses = [NodeStatus(node=node(0), state="running"), NodeStatus(node=node(1), state="stopped")]
    state.observe(statuses, 6)
    note(state, 6)
    state.observe([one.model_copy(update={"state": "running"}) for one in statuses], 7)
    note(state, 7)
    state.observe(statuses[:1], 8)
    note(state, 8)
    assert told(state) == [
        "cluster UP INIT", "node 1 UP STOPPED", "cluster INIT UP", "node 1 STOPPED UP", "cluster UP INIT",
        "node 1 UP LOST",
    ]  # fmt: skip


def test_a_launch_that_gets_nothing_is_told_too() -> None:
    state = fresh()
    ask(state, "launch/dev/1", job=JobRecord(id=0))
    release(state, "launch/dev/1", nodes_deleted=True)
    assert told(state) == ["cluster - INIT", "job 1 - FAILED_DRIVER", "cluster INIT DOWN"]


def test_a_callback_hears_of_its_own_job_only() -> None:
    state = up(webhook=False, callback=True)
    ask(state, "exec/dev/2", job=JobRecord(id=0), webhook=False)
    run(state, "exec/dev/2", 2)
    assert told(state, "callback") == ["job 1 - PENDING", "job 1 PENDING RUNNING", "job 1 RUNNING SUCCEEDED"]
    assert state.unposted == []


def test_listeners_are_told_at_their_own_pace() -> None:
    state = up(callback=True)
    mark_told(state, "webhook", 3, 5)
    assert [change.number for change in state.unposted] == [4, 5]
    assert [change.number for change in state.uncalled] == [3, 4, 5]


def test_for_a_listener_that_is_away_the_latest_are_kept_and_the_old_are_forgotten() -> None:
    state = up()
    for _ in range(MAX_UNTOLD):
        ask(state, "stop/dev/1")
        release(state, "stop/dev/1", nodes_stopped=True)
        ask(state, "start/dev/1")
        made(state, "start/dev/1")
        release(state, "start/dev/1")
    assert len(state.unposted) == MAX_UNTOLD
    assert state.noted == MAX_UNTOLD + state.forgotten == state.unposted[-1].number
    mark_told(state, "webhook", 0, 5 + KEEP_SECONDS)
    assert state.unposted == []
    assert state.forgotten == state.noted


def test_what_an_older_version_kept_is_read() -> None:
    old = fresh().model_dump(exclude={"webhook", "noted", "seen", "unposted", "uncalled", "forgotten"})
    assert ClusterState.model_validate(old) == fresh()


def test_why() -> None:
    assert why("down/dev/idle-u-1") == why("stop/dev/idle-u-3") == "It was idle."
    assert [why(one) for one in ("launch/dev/1", "my own id", "start/dev/1")] == ["", "", ""]


STEPS = st.sampled_from(["launch", "exec", "stop", "start", "down", "end", "lose", "check", "continue"])


@given(st.lists(STEPS, max_size=25))
def test_what_is_told_adds_up_whatever_happens(steps: list[str]) -> None:
    """Each change begins where the one before it ended, and numbers have no gap."""
    state = fresh()
    for number, step in enumerate(steps):
        name = f"{step}/dev/{number}"
        try:
            if step in ("launch", "exec", "start"):
                ask(state, name, job=JobRecord(id=0) if step != "start" else None)
                if not state.runs():
                    made(state, name)
                if step != "start":
                    run(state, name, state.next_job - 1)
                release(state, name)
            elif step in ("stop", "down"):
                ask(state, name)
                state.reserve(Reserve(workflow_id=name, kind=step, force=True, webhook=True), 5)
                release(state, name, f"next-{number}", nodes_stopped=step == "stop", nodes_deleted=step == "down")
            elif step == "end":
                end(state, state.next_job - 1)
            elif step == "continue":
                state = ClusterState.model_validate_json(state.model_dump_json())
            else:
                state.nodes_away([0], [], 5)
                note(state, 5)
        except SkyflowError:  # refused
            state.operations = [op for op in state.operations if op.workflow_id != name]
    assert [change.number for change in state.unposted] == [*range(1, state.noted + 1)]
    last: dict[tuple[str, str, int | None], str] = {}
    for change in state.unposted:
        key = (change.uid, change.kind, change.job_id if change.kind == "job" else change.rank)
        assert last.get(key, "UP" if change.kind == "node" else "") == change.before != change.after
        last[key] = change.after
