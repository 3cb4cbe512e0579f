"""The synchronous API without a server: names, arguments, and what is refused before anything is started."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

import skyflow as sky
from skyflow.errors import InvalidClusterNameError, InvalidTaskError, NotSupportedError, UsageError
from skyflow.later import NAMES
from skyflow.models.place import CLASSES

CLUSTERS = [
    {"name": "a", "status": "UP", "uid": "life", "num_nodes": 2, "instance_type": "t", "last_use": "train.py"},
    {"name": "b", "status": "INIT", "uid": "life", "num_nodes": 0},
]
JOBS = [
    {"id": 2, "status": "RUNNING", "ended_at": None, "num_nodes": 1},
    {"id": 1, "status": "FAILED", "ended_at": 5.0, "num_nodes": 1},
]


class FakeClient:
    """Answers as a client does, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def status(self, names: list[str] | None, *, refresh: bool) -> list[dict[str, Any]]:
        self.asked.append((names, refresh))
        return [row for row in CLUSTERS if names is None or row["name"] in names]

    async def queue(self, cluster: str) -> list[dict[str, Any]]:
        return JOBS if cluster == "a" else []

    async def cancel(self, cluster: str, job_ids: list[int] | None) -> list[int]:
        self.asked.append(job_ids)
        return [2]

    async def down(self, cluster: str, **options: Any) -> int:
        self.asked.append((cluster, {name: value for name, value in options.items() if value}))
        if options["purge"]:
            options["notice"]("Cluster 'a' is forgotten.")
        return 1

    async def stop(self, cluster: str, **options: Any) -> int:
        return await self.down(cluster, **options)

    async def workflow_query(self, workflow_id: str, query: str) -> dict[str, Any]:
        return {"uid": "life", "num_nodes": 2, "offer": {"cloud": "local"}, "query": f"{workflow_id} {query}"}

    async def start(self, cluster: str, *, notice: Any, **options: Any) -> int:
        self.asked.append((cluster, options))
        return 1

    async def autostop(self, cluster: str, minutes: int, down: bool, wait_for: str | None, **options: Any) -> None:
        self.asked.append((cluster, minutes, down, wait_for, options))

    async def adopt(self, **options: Any) -> dict[str, Any]:
        self.asked.append(options)
        return {"adopted": []}

    async def job(self, cluster: str, job_id: int | None) -> dict[str, Any]:
        return JOBS[1]

    async def output(self, cluster: str, job: dict[str, Any], **options: Any) -> AsyncIterator[bytes]:
        self.asked.append(options)
        yield b"hello\n"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr("skyflow.api._run", lambda body: asyncio.run(body(fake)))
    return fake


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyflow.api._run", lambda body: pytest.fail("connected"))


def test_get_gives_back_what_it_is_given(client: FakeClient) -> None:
    """A program of SkyPilot 0.14 waits for a request; here the call has waited."""
    assert sky.get(sky.status("a"))[0]["name"] == "a"
    assert sky.stream_and_get((1, None)) == (1, None)


def test_c06_down_takes_the_cluster_down(client: FakeClient) -> None:
    assert sky.down("a") is None  # type: ignore[func-returns-value]
    assert client.asked[0][0] == "a"


@pytest.mark.parametrize("call", [sky.stop, sky.down])
def test_c04_c06_a_purge_says_what_may_be_left(
    client: FakeClient, capsys: pytest.CaptureFixture[str], call: Any
) -> None:
    call("a", purge=True, graceful=True, graceful_timeout=7)
    [(_, options)] = client.asked
    del options["notice"]
    assert options == {"purge": True, "graceful": True, "graceful_timeout": 7}
    assert capsys.readouterr().err == "skyflow: Cluster 'a' is forgotten.\n"


def test_c05_c09_start_and_autostop_take_skypilots_parameters(client: FakeClient) -> None:
    handle = sky.start("a", 5, True, True, True)
    assert (handle.cluster_name, handle.num_nodes, handle.launched_resources) == ("a", 2, {"cloud": "local"})
    sky.autostop("a", 30, False, down_after="24h")
    sky.autostop("a", -1)
    rule = {"idle_minutes_to_autostop": 5, "down": True, "retry_until_up": True, "wait_for": None, "force": True}
    assert client.asked == [
        ("a", rule),
        ("a", 30, False, None, {"down_after": "24h"}),
        ("a", -1, False, None, {"down_after": None}),
    ]


def test_c07_status_of_some_or_all(client: FakeClient) -> None:
    assert [row["name"] for row in sky.status()] == ["a", "b"]
    assert [row["name"] for row in sky.status(["b"])] == ["b"]
    assert sky.status("c") == []
    handle = sky.status("a")[0]["handle"]
    assert (handle.cluster_name, handle.num_nodes, handle.launched_resources["instance_type"]) == ("a", 2, "t")
    assert [(row["last_use"], row["metadata"]) for row in sky.status()] == [("train.py", {}), ("", {})]
    client.asked.clear()
    for refresh in (False, sky.StatusRefreshMode.NONE):
        sky.status(refresh=refresh)
    assert client.asked == [(None, False)] * 2
    client.asked.clear()
    for refresh in (True, sky.StatusRefreshMode.FORCE):
        sky.status(refresh=refresh)
    assert client.asked == [(None, True)] * 2


def test_c08_statuses_are_skypilots(client: FakeClient) -> None:
    first, second = sky.status()
    assert first["status"] is sky.ClusterStatus.UP and second["status"].value == "INIT"
    assert {"INIT", "UP", "STOPPED"} <= set(sky.ClusterStatus)


def test_adopt(client: FakeClient) -> None:
    assert sky.adopt(dryrun=True) == {"adopted": []}
    assert client.asked == [{"dryrun": True, "deployment": None}]


def test_the_jobs_of_a_cluster(client: FakeClient) -> None:
    assert [row["status"] for row in sky.queue("a")] == [sky.JobStatus.RUNNING, sky.JobStatus.FAILED]
    assert [row["id"] for row in sky.queue("a", skip_finished=True, all_users=True)] == [2]
    assert sky.job_status("a") == {2: sky.JobStatus.RUNNING}
    assert sky.job_status("a", [1, 7]) == {1: sky.JobStatus.FAILED, 7: None}
    assert sky.job_status("empty") == {None: None}


def test_cancel_of_some_or_all(client: FakeClient) -> None:
    for options in ({"job_ids": [2]}, {"all": True}, {"all_users": True}):
        assert sky.cancel("a", **options) == [2]  # type: ignore[arg-type]
    assert client.asked == [[2], None, None]
    with pytest.raises(UsageError, match="Say which jobs"):
        sky.cancel("a")


def test_the_end_of_a_log(client: FakeClient, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert sky.tail_logs("a", 1, follow=False, tail=5) == 100
    assert client.asked == [{"follow": False, "tail": 5}]
    assert capsysbinary.readouterr().out == b"hello\n"


TASK = sky.Task(run="x")


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (lambda: sky.launch(TASK, clone_disk_from="a"), "clone_disk_from"),
        (lambda: sky.launch(TASK, resize=True), "resize"),
        (lambda: sky.launch(TASK, backend=object()), "backend"),
        (lambda: sky.exec(TASK, "a", backend=object()), "backend"),
        (lambda: sky.status(all_users=False), "all_users"),
        (lambda: sky.queue("a", all_users=False), "all_users"),
        (lambda: sky.tail_logs("a", output_stream=object()), "output_stream"),
    ],
)
def test_arguments_that_only_skypilot_has_are_refused_with_a_sentence(offline: None, call: Any, option: str) -> None:
    with pytest.raises(NotSupportedError, match=rf"^{option}: .* is not supported by this version of skyflow yet\.$"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sky.launch(TASK, optimize_target="cost"), "optimize_target must be OptimizeTarget.COST or TIME"),
        (lambda: sky.launch(TASK, idle_minutes_to_autostop="5"), "idle_minutes_to_autostop must be a whole number"),
        (lambda: sky.launch(TASK, idle_minutes_to_autostop=True), "idle_minutes_to_autostop must be a whole number"),
        (lambda: sky.optimize(TASK, minimize="cost"), "minimize must be OptimizeTarget.COST or TIME, found the string"),
        (lambda: sky.autostop("a", "5"), "idle minutes must be a whole number, found the string '5'."),  # type: ignore
        (lambda: sky.autostop("a", 5.5), "idle minutes must be a whole number, found the value 5.5."),  # type: ignore
        (lambda: sky.autostop("a", 5, down=True, down_after=5), "down_after (--down-after) is for a cluster that is"),
        (lambda: sky.autostop("a", -5, down_after=5), "Negative idle minutes mean that the cluster stays"),
        (lambda: sky.start("a", down=True), "down needs idle minutes"),
        (lambda: sky.start("a", idle_minutes_to_autostop=True), "idle minutes must be a whole number"),
        (lambda: sky.stop("a", graceful=True, graceful_timeout=-1), "graceful_timeout (--graceful-timeout) must be"),
        (lambda: sky.down("a", graceful_timeout=5), "graceful_timeout (--graceful-timeout) goes with"),
        (lambda: sky.tail_logs("a", tail="5"), "tail must be a number of lines, found the string '5'."),
        (lambda: sky.tail_logs("a", tail=-5), "tail must be a number of lines, found the value -5."),
    ],
)
def test_arguments_of_a_wrong_type(offline: None, call: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value).startswith(message)


MANAGED = sky.Task(run="x", resources=sky.Resources(job_recovery="FAILOVER"))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: sky.launch(TASK, "a b"), InvalidClusterNameError),
        (lambda: sky.launch(TASK, 5), InvalidClusterNameError),  # type: ignore[arg-type]
        (lambda: sky.launch(TASK, "", dryrun=True), InvalidClusterNameError),
        (lambda: sky.exec(TASK, "a b"), InvalidClusterNameError),
        (lambda: sky.launch(sky.Task(file_mounts={"/a": "/not/there"})), InvalidTaskError),
        (lambda: sky.launch(sky.Task(workdir="/not/there"), dryrun=True), InvalidTaskError),
        (lambda: sky.exec(sky.Task(workdir="/not/there"), "a"), InvalidTaskError),
        (lambda: sky.launch(MANAGED), InvalidTaskError),
        (lambda: sky.exec(MANAGED, "a"), InvalidTaskError),
        (lambda: sky.launch(TASK, idle_minutes_to_autostop=-5, down=True), UsageError),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_started(offline: None, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("name", CLASSES)
def test_every_cloud_has_its_class(name: str) -> None:
    cloud = getattr(sky, name)()
    assert isinstance(cloud, getattr(sky.clouds, name)) and cloud == name.lower()
    assert pickle.loads(pickle.dumps(cloud)) == cloud
    assert sky.Resources(cloud=cloud).infra == sky.Resources(cloud=cloud).cloud == name.lower()


def test_k8s_is_kubernetes() -> None:
    assert sky.K8s is sky.Kubernetes is sky.clouds.K8s


@pytest.mark.parametrize("name", NAMES)
def test_names_that_only_skypilot_has_say_what_is_missing(name: str) -> None:
    assert not hasattr(sky, name)
    with pytest.raises(AttributeError, match=rf"'{name}'; .*: not in this version of skyflow yet$"):
        getattr(sky, name)


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(AttributeError, match=r"^module 'skyflow' has no attribute 'lunch'$"):
        getattr(sky, "lunch")  # noqa: B009
    with pytest.raises(AttributeError, match=r"^module 'skyflow\.clouds' has no attribute 'Mars'$"):
        getattr(sky.clouds, "Mars")  # noqa: B009


def test_what_a_task_and_its_resources_tell() -> None:
    task = sky.Task(run="x", volumes={"/a": "v", "/b": {"size": 5}})
    assert task.volumes == {"/a": "v", "/b": {"size": "5"}}
    assert task.set_volumes({"/c": "w"}).volumes == {"/c": "w"} and task.set_volumes(None).volumes == {}
    assert not task.use_spot
    assert task.set_resources([sky.Resources(), sky.Resources(use_spot=True)]).use_spot
    assert sky.Resources(infra="gcp/us-central1").infra == "gcp/us-central1"
    assert sky.Resources(region="r").infra == "*/r" and sky.Resources().infra is None
