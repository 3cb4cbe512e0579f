"""Which clusters are adopted, how one is rebuilt, and what its nodes add to that."""

from __future__ import annotations

import pytest

from skyflow.errors import UsageError
from skyflow.models.adoption import Adoption, AdoptRequest, Known, KnownLife, decide, lost, search
from skyflow.models.cluster import HEADROOM, ClusterState
from skyflow.models.job import JobRecord, Units
from skyflow.models.life import Life, kept, revived
from skyflow.models.node import NodeState, NodeStatus, TaggedNode
from skyflow.models.operation import ArmIdle, CancelJob, Place, Release, Reserve, StartJob, Submission
from skyflow.models.schedule import Demand
from skyflow.models.status import ClusterStatus, JobStatus
from skyflow.models.usage import UpInterval
from tests.models.test_cluster import OFFER, fresh, launch, node, run_job

HERE = Place(cloud="local", host="h")


def life(uid: str, owner: str = "old", **more: object) -> KnownLife:
    known = KnownLife(cluster=f"c-{uid}", uid=uid, owner=owner, deployment="old", places=[HERE])
    return known.model_copy(update=more)


def tagged(uid: str, deployment: str = "old", state: NodeState = "running") -> TaggedNode:
    return TaggedNode(deployment=deployment, cluster=f"c-{uid}", uid=uid, id=f"n-{uid}", rank=0, state=state)


def decided(lives: list[KnownLife], found: list[TaggedNode], silent: list[Place] | None = None) -> Adoption:
    return decide(Known(own="new", lives=lives), lives, found, silent or [])


def test_a_life_with_nodes_is_adopted_and_one_without_is_over() -> None:
    adoption = decided([life("a"), life("b"), life("c")], [tagged("a"), tagged("c", state="stopped")])
    assert [(one.uid, one.num_nodes, one.stopped) for one in adoption.adopted] == [("a", 1, 0), ("c", 1, 1)]
    assert [one.uid for one in adoption.over] == ["b"]
    assert adoption.left == adoption.strangers == []


def test_a_cloud_that_cannot_be_asked_says_nothing_about_its_nodes() -> None:
    elsewhere = life("b", places=[Place(cloud="local", host="other")])
    adoption = decided([life("a"), elsewhere], [tagged("a")], [Place(cloud="local", host="other")])
    assert [one.uid for one in adoption.adopted] == ["a"]
    assert [(one.uid, one.reason) for one in adoption.left] == [("b", "its cloud could not be asked")]
    assert (adoption.over, adoption.silent) == ([], ["other"])


def test_names_that_are_taken_and_clusters_with_a_guardian_are_left_alone() -> None:
    taken, guarded = life("a", here="another"), life("b", guarded=True)
    adoption = decided([taken, guarded], [tagged("a"), tagged("b")])
    assert [one.uid for one in adoption.left] == ["a", "b"]
    assert "another cluster of this name" in adoption.left[0].reason
    assert "guardian" in adoption.left[1].reason


def test_nodes_that_the_store_does_not_know_are_reported() -> None:
    adoption = decided([life("a")], [tagged("a"), tagged("z"), tagged("y", deployment="new")])
    assert [one.uid for one in adoption.strangers] == ["z"], "those of this deployment may just have been made"


def test_what_this_namespace_has_is_not_lost() -> None:
    known = Known(own="new", lives=[life("a", here="a"), life("b"), life("c")])
    assert [one.uid for one in lost(known, AdoptRequest())] == ["b", "c"]
    assert [one.uid for one in lost(known, AdoptRequest(lives=["c"]))] == ["c"]
    assert lost(known, AdoptRequest(deployment="else")) == []


def test_whose_lost_clusters_there_are_is_said_whichever_was_asked_for() -> None:
    known = Known(own="new", lives=[life("a", here="a", owner="new"), life("b", owner="older"), life("c")])
    assert decide(known, [], [], []).owners == ["old", "older"]


def test_of_several_deployments_one_must_be_named() -> None:
    known = Known(own="new", lives=[life("a"), life("b", owner="older"), life("c", owner="new")])
    with pytest.raises(UsageError, match=r"2 other deployments.*--deployment: old \(c-a\); older \(c-b\)"):
        lost(known, AdoptRequest())
    assert [one.uid for one in lost(known, AdoptRequest(deployment="older"))] == ["b"]


def test_nodes_are_looked_for_where_they_may_be_and_by_the_tags_that_they_have() -> None:
    known = Known(own="new", deployments=["gone"], places=[Place(cloud="aws"), HERE])
    places, deployments = search(known, [life("a", owner="new")], AdoptRequest())
    assert places == [HERE, Place(cloud="aws")]
    assert deployments == ["gone", "old"]
    assert search(known, [], AdoptRequest(deployment="x"))[1] == ["x"]


def lived(*, jobs: int = 1) -> ClusterState:
    """A cluster with one node and jobs that run."""
    state = fresh().model_copy(update={"deployment": "old"})
    launch(state, "a")
    run_job(state, "a")
    state.release(Release(workflow_id="a"), 2, "next")
    for number in range(2, jobs + 1):
        submit(state, number)
        state.job_started(number, 3)
    return state


def submit(state: ClusterState, number: int) -> None:
    state.reserve(Reserve(workflow_id=f"x{number}", kind="exec", job=JobRecord(id=0)), 3)
    state.submit(Submission(workflow_id=f"x{number}", job_id=number, spec="key", demand=Demand(cpus=2, slots=0)), 3)
    state.release(Release(workflow_id=f"x{number}"), 3, "next")


def again(state: ClusterState, open_intervals: list[UpInterval] | None = None, highest: int = 0) -> ClusterState:
    """The cluster after it was kept and Temporal lost."""
    text = Life(owner="old", state=kept(state)).model_dump_json()
    return revived(Life.model_validate_json(text), "new", open_intervals or [], highest)


def test_what_runs_is_taken_up_and_what_waits_goes_on_waiting() -> None:
    state = lived(jobs=1)
    submit(state, 2)
    back = again(state)
    assert (back.status, back.deployment, back.guarded) == (ClusterStatus.UP, "old", False)
    assert back._settle(50) == [], "nothing begins before it is known what runs"
    assert back.take_up(Units(runs={1: [0]}, running=[1], highest=1), 100) == [StartJob(1), StartJob(2)]
    back.job_started(1, 101)
    assert back.jobs[1].started_at == 1, "it has not begun anew"
    assert back.gang([0]).deployment == "old"


def test_a_full_node_stays_full() -> None:
    state = fresh()
    launch(state, "a", job=False)
    state.release(Release(workflow_id="a"), 2, "next")
    for number in (1, 2):
        submit(state, number)
    back = again(state)
    assert back.take_up(Units(), 100) == [StartJob(1)]
    assert back.jobs[2].status is JobStatus.PENDING


def test_a_job_of_which_only_the_node_knows_has_the_node_for_itself() -> None:
    back = again(lived())
    submit_later = Units(runs={1: [0], 2: [0], 3: [0]}, running=[1, 2], highest=5)
    assert back.take_up(submit_later, 100) == [StartJob(1), StartJob(2)]
    assert (back.jobs[2].ranks, back.jobs[2].spec) == ([0], "jobs/dev-ef260e9a/life-1/2/spec.json")
    assert 3 not in back.jobs, "it has ended"
    assert back.next_job == 6
    submit(back, 6)
    assert back.jobs[6].ranks == []


def test_a_job_that_waited_when_the_cluster_was_kept_and_has_run_is_not_run_again() -> None:
    state = lived()
    submit(state, 2)
    state.jobs[2].ranks, state.jobs[2].devices = [], {}  # as it was kept, just before its turn
    back = again(state)
    assert StartJob(2) in back.take_up(Units(runs={2: [0]}, highest=2), 100)
    assert back.jobs[2].ranks == [0], "where it was: the node knows that it has ended"


@pytest.mark.parametrize("units", [None, Units(highest=3)])
def test_no_job_number_is_given_twice(units: Units | None) -> None:
    back = again(lived(), highest=4)
    back.take_up(units, 100)
    assert back.next_job == (5 if units else 5 + HEADROOM)


def test_a_job_that_was_being_set_up_has_failed_and_its_launch_is_looked_for() -> None:
    state = fresh()
    launch(state, "a")
    back = again(state)
    back.take_up(Units(), 100)
    assert (back.jobs[1].status, back.jobs[1].reason[:19]) == (JobStatus.FAILED_DRIVER, "Its launch was lost")
    assert back.rule and back.rule.safety
    actions = back.release(Release(workflow_id="a"), 101, "next")  # as soon as it is found that it is not there
    assert [one.rule for one in actions if isinstance(one, ArmIdle)] == [back.rule]


def test_what_ran_on_nodes_that_are_stopped_by_now_is_lost_and_what_waits_waits() -> None:
    state = lived()
    submit(state, 2)
    state.jobs[2].ranks, state.jobs[2].devices = [], {}
    back = again(state)
    back.observe([NodeStatus(node=node(0), state="stopped")], 99)
    assert back.take_up(None, 100) == []
    assert back.status is ClusterStatus.STOPPED
    assert [job.status for job in back.jobs.values()] == [JobStatus.FAILED_DRIVER, JobStatus.PENDING]
    assert back.unbooked[-1].ended == 99


def test_the_ledger_goes_on() -> None:
    state = lived()
    begun = state.up[0]
    assert again(state).up == {0: begun}
    stopped = state.model_copy(update={"up": {}, "stopped": True})  # as it was kept, before it was started again
    later = UpInterval.begin("dev", "life-1", node(0), OFFER, 77)
    back = again(stopped, [later])
    back.observe([NodeStatus(node=node(0), state="running")], 99)
    assert back.up == {0: later}, "not once more from now on"


def test_a_cancel_under_way_is_not_forgotten() -> None:
    state = lived()
    submit(state, 2)
    state.jobs[2].cancelling = True
    back = again(state)
    back.take_up(None, 100)
    assert back.job_started(2, 101) == [CancelJob(2)]


def test_the_next_life_is_the_new_deployments() -> None:
    back = again(lived())
    back.take_up(Units(), 100)
    assert back.next_deployment == "new"
    back.reserve(Reserve(workflow_id="d", kind="down", force=True), 101)
    back.release(Release(workflow_id="d", nodes_deleted=True), 102, "life-2")
    assert (back.deployment, back.ended, back.uid) == ("new", {"life-1": 102}, "life-2")


def test_what_the_store_should_know_is_noticed() -> None:
    state = lived()
    seen = [state.essentials()]
    for change in (
        lambda: submit(state, 2),
        lambda: state.job_started(2, 5),
        lambda: setattr(state, "stopped", True),
        lambda: setattr(state, "rule", None),
    ):
        change()
        seen.append(state.essentials())
    state.cursors["n0"] = 7
    assert len(set(map(repr, seen))) == len(seen)
    assert state.essentials() == seen[-1]
