"""What a person sees of a launch while it goes on: a live tree of its stages, or one line for each of them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from skyflow.cli import view
from skyflow.errors import SkyflowError, TemporalUnavailableError
from skyflow.models.log_line import LineMerger

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skyflow.handle import Launch

LOOK_SECONDS = 0.2
"""How often a launch is asked how far it is, before its job runs."""
RUNNING_SECONDS = 1.0
"""And while it runs."""
TRANSFER_SECONDS = 1.0
"""How often is looked how many bytes have been copied."""
BRIEF_SECONDS = 1.0
"""An exec that goes through faster than this says nothing of its stages."""


class Screen(Protocol):
    """Where stages are shown."""

    def show(self, progress: dict[str, Any], transfers: Sequence[dict[str, Any]]) -> None:
        """How far it is."""

    def yield_to_output(self) -> None:
        """The job's own output begins."""

    def close(self, failed: bool = False) -> None:
        """Nothing more comes; the last stage may be where it failed."""


async def follow(handle: Launch, num_nodes: int, brief: bool, on_nodes: Callable[[], None]) -> dict[str, Any]:
    """Shows stages and output until the launch ends; returns its result.

    Args:
        handle: of the launch.
        num_nodes: of the task: with several, each line of output says where it comes from.
        brief: show stages only if it takes long.
        on_nodes: called when the nodes are there, if that is seen before the end; then again and again.
    """
    screen: Screen = Tree() if sys.stderr.isatty() else Lines(brief)
    result = asyncio.ensure_future(handle.result())
    watching = asyncio.ensure_future(_watch(handle, screen, brief, on_nodes))
    merger = LineMerger(num_nodes)
    output = Output()
    units: set[str] = set()
    try:
        async for chunk in handle.output(result):
            if chunk.unit not in units:
                units.add(chunk.unit)
                if not brief:
                    await _show_now(handle, screen)  # a stage is said before what it prints
                screen.yield_to_output()
            output.write(merger.feed(chunk.unit, chunk.rank, chunk.data))
        output.write(merger.flush())
        output.close()
        if not brief:
            await _show_now(handle, screen)
        return await result
    except SkyflowError:
        screen.close(failed=True)
        raise
    finally:
        result.cancel()
        watching.cancel()
        await asyncio.gather(result, watching, return_exceptions=True)
        screen.close()


async def _show_now(handle: Launch, screen: Screen) -> None:
    with suppress(TemporalUnavailableError):
        screen.show(await handle.progress(), [])


async def _watch(handle: Launch, screen: Screen, brief: bool, on_nodes: Callable[[], None]) -> None:
    await asyncio.sleep(BRIEF_SECONDS if brief else 0)
    asked = unavailable = 0.0
    transfers: list[dict[str, Any]] = []
    while True:
        try:
            progress = await handle.progress()
            stage = progress["stages"][-1]["name"] if progress["stages"] else ""
            if stage not in ("", "OPTIMIZE", "PROVISION"):
                on_nodes()
            if not stage.startswith("SYNC"):
                transfers = []
            elif time.monotonic() > asked + TRANSFER_SECONDS:
                transfers, asked = await handle.transfers(), time.monotonic()
        except TemporalUnavailableError as error:
            if not unavailable:
                view.say(f"skyflow: {error} Waiting.")
            unavailable = time.monotonic()
            await asyncio.sleep(RUNNING_SECONDS)
            continue
        screen.show(progress, transfers)
        await asyncio.sleep(RUNNING_SECONDS if stage in ("EXEC", "DOWN") else LOOK_SECONDS)


class Lines:
    """For logs and pipes: a line for each stage as it begins, and for what went wrong or is waited for."""

    def __init__(self, brief: bool = False, said: Sequence[str] = ()) -> None:
        self._brief = brief
        self._said = set(said)

    def show(self, progress: dict[str, Any], transfers: Sequence[dict[str, Any]]) -> None:
        """See Screen."""
        for line in self.lines(progress):
            if line not in self._said:
                self._said.add(line)
                view.say(line)

    def lines(self, progress: dict[str, Any]) -> list[str]:
        """All that there is to say."""
        lines = []
        for stage in progress["stages"]:
            if not self._brief:
                lines.append(f"  {stage['name']}")
            if stage["name"] == "PROVISION":
                lines += [
                    f"    {attempt['place']} {attempt['instance_type']}: {attempt['error']}"
                    for attempt in progress["attempts"]
                    if attempt["error"]
                ]
        if progress["waiting_for"]:
            lines.append(f"  waiting for {progress['waiting_for']}")
        return lines

    def yield_to_output(self) -> None:
        """See Screen."""

    def close(self, failed: bool = False) -> None:
        """See Screen."""


class Tree:
    """For terminals: a tree of stages that is drawn again and again, until output begins; lines from then on."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._lines: Lines | None = None
        self._last: dict[str, Any] | None = None
        self._rates: dict[str, tuple[float, int]] = {}
        self._live = Live(console=Console(stderr=True, highlight=False), refresh_per_second=10, transient=False)

    def show(self, progress: dict[str, Any], transfers: Sequence[dict[str, Any]]) -> None:
        """See Screen."""
        if self._lines is not None:
            self._lines.show(progress, transfers)
            return
        self._last = progress
        if not self._live.is_started:
            self._live.start()
        self._live.update(self._tree(progress, transfers))

    def yield_to_output(self) -> None:
        """See Screen."""
        if self._lines is None:
            self.close()
            self._lines = Lines(said=Lines().lines(self._last) if self._last else ())

    def close(self, failed: bool = False) -> None:
        """See Screen."""
        if self._live.is_started and self._lines is None and self._last is not None:
            from rich.text import Text

            self._live.update(self._tree(self._last, [], Text("✗", "red") if failed else Text("▸", "cyan")))
            self._live.stop()

    def _tree(
        self, progress: dict[str, Any], transfers: Sequence[dict[str, Any]], running: RenderableType | None = None
    ) -> RenderableType:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        for stage in progress["stages"]:
            over = stage["ended"] is not None
            mark: RenderableType = Text("✓", "green") if over else running or Spinner("dots", style="cyan")
            seconds = (stage["ended"] or time.time()) - stage["started"]
            grid.add_row(mark, stage["name"], Text(f"{seconds:6.1f} s", "dim"), self._detail(stage["name"], progress))
            if stage["name"] == "PROVISION":
                for attempt in progress["attempts"]:
                    grid.add_row("", "", *_attempt(attempt))
            if stage["name"].startswith("SYNC") and not over:
                for transfer in transfers:
                    grid.add_row("", "", "", self._transfer(transfer))
        if progress["waiting_for"]:
            grid.add_row(
                Spinner("dots", style="yellow"), "waiting", "", Text(f"for {progress['waiting_for']}", "yellow")
            )
        return grid

    def _detail(self, stage: str, progress: dict[str, Any]) -> RenderableType:
        from rich.text import Text

        if stage == "OPTIMIZE" and progress["plan"]:
            best = progress["plan"][0]
            place = f"{best['cloud']}/{best['region']}/{best['zone']} {best['instance_type']}"
            others = progress["num_offers"] - 1
            more = f", {others} more" if others else ""
            return Text(f"best: {place} {view.dollars(best['price'])}/h{more}", "dim")
        return ""

    def _transfer(self, transfer: dict[str, Any]) -> RenderableType:
        from rich.columns import Columns
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        sent, total = transfer["sent"], transfer["total"]
        began, first = self._rates.setdefault(transfer["what"], (time.monotonic(), sent))
        passed = time.monotonic() - began
        rate = f", {view.amount((sent - first) / passed)}/s" if passed > 1 and sent > first else ""
        return Columns(
            [ProgressBar(total or 1, sent, width=30), Text(f"{view.amount(sent)} of {view.amount(total)}{rate}")]
        )


def _attempt(attempt: dict[str, Any]) -> tuple[RenderableType, RenderableType]:
    from rich.spinner import Spinner
    from rich.text import Text

    place = f"{attempt['place']} {attempt['instance_type']}"
    seconds = Text(f"{attempt['seconds']:6.1f} s", "dim") if attempt["seconds"] else Text("")
    if attempt["error"]:
        return seconds, Text.assemble(("✗ ", "red"), place, (f"  {attempt['error']}", "yellow"))
    if attempt["seconds"]:
        return seconds, Text.assemble(("✓ ", "green"), place)
    return seconds, Spinner("dots", Text(place), style="cyan")


@contextmanager
def snapshot_bar() -> Iterator[Any]:
    """Gives what shows how far the client has read its files: on a terminal, and only if there is much to read."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    bars = Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
    tasks: dict[str, Any] = {}

    def show(source: str, done: int, total: int) -> None:
        if total < MUCH_BYTES:
            return
        if source not in tasks:
            bars.start()
            tasks[source] = bars.add_task(f"reading {source}")
        bars.update(tasks[source], completed=done, total=total)

    try:
        yield show
    finally:
        bars.stop()


MUCH_BYTES = 16 << 20


class Output:
    """The output of a job, as it is. On a terminal, our own words after it get a line, and a colour, of their own."""

    def __init__(self) -> None:
        self._begun = False
        self._coloured = False

    def write(self, data: bytes) -> None:
        """Some of it."""
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            self._begun = not data.endswith(b"\n")
            self._coloured |= b"\033[" in data

    def close(self) -> None:
        """Our own words come now."""
        if sys.stdout.isatty() and sys.stderr.isatty():
            sys.stdout.write(("\033[0m" if self._coloured else "") + ("\n" if self._begun else ""))
            sys.stdout.flush()
