"""What `stop`, `start`, `autostop` and `down` do with several clusters, without a server."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import typer

from skyflow.cli import cluster
from skyflow.client import Client
from skyflow.errors import ClusterChangeError, ClusterNotUpError

NOBODY = cast(Client, None)


class Ends:
    """Clusters that end when they are told to."""

    def __init__(self, *names: str) -> None:
        self.ends: dict[str, asyncio.Future[str]] = {name: asyncio.Future() for name in names}
        self.begun: list[str] = []

    async def one(self, client: Client, name: str) -> str:
        self.begun.append(name)
        return await self.ends[name]

    def at_once(self) -> asyncio.Task[int]:
        return asyncio.create_task(cluster._at_once(NOBODY, list(self.ends), self.one))


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_begin_at_once_and_each_is_told_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    clusters = Ends("a", "b", "c")
    doing = clusters.at_once()
    await turns()
    assert clusters.begun == ["a", "b", "c"]
    for name, said in (("c", "c is stopped"), ("a", "a is stopped")):
        clusters.ends[name].set_result(said)
        await turns()
        assert capsys.readouterr().err == f"{said}\n"
    clusters.ends["b"].set_result("b is stopped")
    assert await doing == 0


async def test_one_that_fails_stops_no_other_and_the_worst_counts(capsys: pytest.CaptureFixture[str]) -> None:
    clusters = Ends("a", "b", "c")
    doing = clusters.at_once()
    await turns()
    clusters.ends["b"].set_exception(ClusterChangeError("b: refused."))
    await turns()
    clusters.ends["a"].set_exception(ClusterNotUpError("a: not up."))
    await turns()
    clusters.ends["c"].set_result("c is stopped")
    assert await doing == 4
    assert capsys.readouterr().err == "skyflow: b: refused.\nskyflow: a: not up.\nc is stopped\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a", "Cluster a: this takes longer. It goes on, also if you press Ctrl-C. See: skyflow events a"),
        ("ab", "Clusters a, b: this takes longer. They go on, also if you press Ctrl-C. See: skyflow status"),
        ("abcdefg", "Clusters a, b, c, d, e and 2 more: this takes longer."),
    ],
)
async def test_whoever_waits_for_long_is_told_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: str, said: str
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0)
    clusters = Ends(*names)
    doing = clusters.at_once()
    await turns()
    assert capsys.readouterr().err.startswith(said)
    for end in clusters.ends.values():
        end.set_result("done")
    assert await doing == 0


async def test_whoever_presses_ctrl_c_is_told_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    clusters = Ends("a", "b", "c")
    doing = clusters.at_once()
    await turns()
    clusters.ends["b"].set_result("b is stopped")
    await turns()
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    said = "\nWhat has begun goes on: clusters a, c. See: skyflow status"
    assert capsys.readouterr().err == f"b is stopped\n{said}\n"


@pytest.mark.parametrize(("code", "left_with"), [(0, None), (4, 4)])
def test_the_command_leaves_with_the_worst_exit_code(
    monkeypatch: pytest.MonkeyPatch, code: int, left_with: int | None
) -> None:
    async def at_once(client: Client, names: list[str], one: Any) -> int:
        assert names == ["a", "b"]
        return code

    monkeypatch.setattr(cluster, "_at_once", at_once)
    monkeypatch.setattr(cluster, "run", lambda body, **_: asyncio.run(body(NOBODY)))
    if left_with is None:
        cluster.stop(["a", "b", "a"], False, True)
        return
    with pytest.raises(typer.Exit) as left:
        cluster.stop(["a", "b", "a"], False, True)
    assert left.value.exit_code == left_with
