"""Tables for terminals of any width, and for pipes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Columns between two of a table."""

LONG = 30
"""Columns from which on a cell is long."""

UNLIMITED = 10_000
"""Columns of a pipe: whoever reads it wants whole lines."""

COLOURS = {
    "UP": "green",
    "INIT": "yellow",
    "AUTOSTOPPING": "yellow",
    "SUCCEEDED": "green",
    "RUNNING": "cyan",
    "SETTING_UP": "cyan",
    "FAILED": "red",
    "FAILED_SETUP": "red",
    "FAILED_DRIVER": "red",
    "CANCELLED": "yellow",
}


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, to_stderr: bool = False, whole: Collection[str] = ()
) -> None:
    """Prints a table. On a terminal it fits; on a pipe the lines are not cut.

    Args:
        columns: their heads.
        rows: the cells of each.
        to_stderr: instead of stdout.
        whole: columns that stay as wide as they are, while cells of the others take several lines, so that nothing is
            cut. If that is not enough, there is a line for each cell.
    """
    from rich import box  # here, because a command that prints no table should not pay for it
    from rich.table import Table

    console = _console(to_stderr)
    folded = _folded(columns, rows, whole, console.width) if whole else {}
    if folded is None:
        records(columns, rows, to_stderr=to_stderr)
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        folds = bool(whole) and column not in whole
        width = folded.get(column)
        shown.add_column(column, no_wrap=column in whole, overflow="fold" if folds else "ellipsis", width=width)
    for row in rows:
        shown.add_row(*(_coloured(cell) for cell in row))
    console.print(shown)


def _folded(
    columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Collection[str], room: int
) -> dict[str, int] | None:
    """How wide the columns are that are not to stay whole: alike, but none narrower than its head, and what is left
    for the last one. None, if they cannot be that wide."""
    widths = dict(zip(columns, _widths(columns, rows), strict=True))
    folding = {column: width for column, width in widths.items() if column not in whole}
    left = room - sum(widths.values()) - GAP * (len(columns) - 1) + sum(folding.values())
    for level in range(max(folding.values(), default=0), 0, -1):
        narrower = {column: min(width, max(level, len(column))) for column, width in folding.items()}
        if (more := left - sum(narrower.values())) >= 0:
            last = next(reversed(folding))
            return {**narrower, last: min(folding[last], narrower[last] + more)}
    return None


def records(columns: Sequence[str], rows: Sequence[Sequence[str]], *, to_stderr: bool = False) -> None:
    """Prints rows one below the other, a line for each cell: for a terminal that is too narrow for a table."""
    from rich.padding import Padding
    from rich.table import Table

    console = _console(to_stderr)
    for number, row in enumerate(rows):
        if number:
            console.print()
        console.print(_coloured(row[0]))
        shown = Table.grid(padding=(0, 3, 0, 0))
        shown.add_column(no_wrap=True)
        shown.add_column(overflow="fold")
        for column, cell in zip(columns[1:], row[1:], strict=True):
            shown.add_row(column, _coloured(cell))
        console.print(Padding(shown, (0, 0, 0, 2)))


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether there is room for a table in which only long cells take several lines."""
    widths = [min(LONG, width) for width in _widths(columns, rows)]
    return sum(widths) + GAP * (len(columns) - 1) <= _console().width


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(cell_len(line[index]) for line in (columns, *rows)) for index in range(len(columns))]


def _console(to_stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=to_stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=to_stderr, highlight=False, width=UNLIMITED)


def _coloured(cell: str) -> Any:
    from rich.text import Text  # markup in a job's name is text, not markup

    return Text(cell, style=COLOURS.get(cell, ""))
