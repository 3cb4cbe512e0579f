"""Whose turn it is on a cluster's nodes.

Jobs wait in order. One that does not fit now is the head, and those behind it may go first only if that cannot delay
it, whichever of the running jobs end, and when: on each node that the head could use, and in every resource that such
a job would use there, room must remain for what runs, for that job *and* for the head. So nothing that came later can
ever be what the head waits for.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skyflow.models.amount import amount_of
from skyflow.models.wire import Wire

if TYPE_CHECKING:
    from skyflow.models.node import Offer
    from skyflow.models.resources import Resources

SLOTS_PER_CPU = 2
"""So many jobs that state no CPUs run at once for each CPU of a node (PARITY §4.3)."""

_DUST = 1e-9
"""What sums of fractions may be off."""

_Divisible = Literal["cpus", "memory", "slots"]
_DIVISIBLE: tuple[_Divisible, ...] = ("cpus", "memory", "slots")


class Demand(Wire):
    """What a job needs on each of its nodes, for as long as it runs."""

    cpus: float = 0
    memory: float = 0
    """GiB."""
    slots: float = 1
    """One for a job that states no CPUs, none for one that does: whoever only looks need not wait for who computes."""
    accelerators: float = 0
    """Of the node's kind. A part of one is shared with others that want a part."""

    def describe(self, accelerator: str) -> str:
        """In words: `A100:8, 4 CPUs, 16 GiB`; nothing if only a slot is wanted."""
        parts = [f"{accelerator}:{self.accelerators:g}"] if self.accelerators else []
        parts += [f"{self.cpus:g} CPUs"] if self.cpus else []
        parts += [f"{self.memory:g} GiB"] if self.memory else []
        return ", ".join(parts)


class Room:
    """What is free on one node."""

    def __init__(self, cpus: float, memory: float, accelerators: float = 0) -> None:
        self.cpus, self.memory, self.slots = cpus, memory, SLOTS_PER_CPU * cpus
        self.devices = [1.0] * int(accelerators)
        """The free part of each accelerator."""

    @classmethod
    def of(cls, offer: Offer) -> Room:
        """An empty node of this offer."""
        return cls(offer.cpus, offer.memory, sum(offer.accelerators.values()))

    def fits(self, demand: Demand) -> bool:
        """Whether a job that wants this could start here now."""
        return all(self._has(what, demand) for what in _DIVISIBLE) and self.find(demand.accelerators) is not None

    def find(self, count: float) -> list[int] | None:
        """The accelerators that a job gets which wants so many, or None if there are not enough.

        A part of one comes last, and from the one with the least that is enough, so that whole ones stay whole.
        """
        whole, part = divmod(round(count, 6), 1)
        taken = [index for index, free in enumerate(self.devices) if free > 1 - _DUST][: int(whole)]
        if len(taken) < whole:
            return None
        if part:
            left = [(free, i) for i, free in enumerate(self.devices) if free > part - _DUST and i not in taken]
            if not left:
                return None
            taken.append(min(left)[1])
        return taken

    def take(self, demand: Demand, devices: Sequence[int]) -> None:
        """A job that wants this runs here, on these accelerators."""
        self.cpus -= demand.cpus
        self.memory -= demand.memory
        self.slots -= demand.slots
        left = demand.accelerators
        for index in devices:  # the one of which it gets a part is the last
            used = min(1.0, left)
            self.devices[index] -= used
            left -= used

    def remains(self, head: Demand, used: Demand) -> bool:
        """Whether the head's demand still fits, as far as those resources go that another job uses."""
        enough = all(self._has(what, head) for what in _DIVISIBLE if getattr(used, what))
        return enough and (not used.accelerators or self.find(head.accelerators) is not None)

    def _has(self, what: _Divisible, demand: Demand) -> bool:
        wanted: float = getattr(demand, what)
        return not wanted or wanted <= getattr(self, what) + _DUST


@dataclass(frozen=True)
class Waiting:
    """A job whose turn has not come."""

    id: int
    demand: Demand
    num_nodes: int = 1


@dataclass(frozen=True)
class Turn:
    """A job whose turn has come."""

    id: int
    devices: dict[int, list[int]]
    """Rank of each of its nodes → which accelerators it gets there."""


def schedule(waiting: Sequence[Waiting], empty: Room, rooms: Mapping[int, Room]) -> list[Turn]:
    """The jobs that start now.

    Args:
        waiting: in the order in which they shall start.
        empty: what a node has when nothing runs on it.
        rooms: rank → what is free there now; is changed by what starts.
    """
    turns: list[Turn] = []
    head: Waiting | None = None
    too_much: dict[tuple[object, ...], int] = {}  # demand → nodes that were not to be had: rooms only shrink
    for job in waiting:
        kind = tuple(job.demand.model_dump().values())
        if too_much.get(kind, job.num_nodes + 1) <= job.num_nodes:
            continue
        ranks = [rank for rank, room in rooms.items() if room.fits(job.demand)]
        if head is not None and empty.fits(head.demand):
            ranks = [rank for rank in ranks if _spares(rooms[rank], job.demand, head.demand)]
        if len(ranks) >= job.num_nodes:
            ranks.sort(key=lambda rank: (*_emptiness(rooms[rank], job.demand), rank))
            chosen = sorted(ranks[: job.num_nodes])
            turns.append(Turn(job.id, {rank: _start(rooms[rank], job.demand) for rank in chosen}))
        else:
            too_much[kind] = job.num_nodes
            head = head or job
    return turns


def _spares(room: Room, demand: Demand, head: Demand) -> bool:
    after = copy.deepcopy(room)
    _start(after, demand)
    return after.remains(head, demand)


def _start(room: Room, demand: Demand) -> list[int]:
    devices = room.find(demand.accelerators)
    assert devices is not None
    room.take(demand, devices)
    return devices


def _emptiness(room: Room, demand: Demand) -> tuple[float, float, float]:
    """Who wants accelerators goes where few are left, so that whole nodes stay free; others go where most is free."""
    return (sum(room.devices) if demand.accelerators else 0, -room.slots, -room.cpus)


def demand_of(sets: Sequence[Resources], offer: Offer) -> Demand | None:
    """What a job that asks for one of these sets of resources needs on a node of this offer; None: that has not enough.

    Args:
        sets: the alternatives, best first.
        offer: of the node.
    """
    for one in sets:
        wanted = one.accelerators or {}
        counts = [count for name, count in wanted.items() if count <= offer.accelerators.get(name, 0)]
        cpus, memory = (0 if text is None else _amount(text, offer) for text in (one.cpus, one.memory))
        demand = Demand(cpus=cpus, memory=memory, slots=0 if cpus else 1, accelerators=max(counts, default=0))
        if (counts or not wanted) and Room.of(offer).fits(demand):
            return demand
    return None


def _amount(text: str, offer: Offer) -> float:
    """`4`, `4+` or, of memory, `4x`: so many times the CPUs."""
    return amount_of(text) * (offer.cpus if "x" in text else 1)
