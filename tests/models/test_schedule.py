"""Whose turn it is: no node has more to do than it can, nothing delays the head of the line, nothing waits in vain."""

from __future__ import annotations

import copy
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from skyflow.models.node import Offer
from skyflow.models.resources import Resources
from skyflow.models.schedule import Demand, Room, Turn, Waiting, demand_of, schedule

CPUS, MEMORY, GPUS = 4, 16, 4


def empty() -> Room:
    return Room(CPUS, MEMORY, GPUS)


def rooms(nodes: int) -> dict[int, Room]:
    return {rank: empty() for rank in range(nodes)}


def gpus(count: float) -> Demand:
    return Demand(accelerators=count)


def ids(turns: list[Turn]) -> list[int]:
    return [turn.id for turn in turns]


def test_jobs_that_state_nothing_share_a_node_two_for_each_cpu() -> None:
    turns = schedule([Waiting(n, Demand()) for n in range(20)], empty(), rooms(1))
    assert ids(turns) == list(range(2 * CPUS))


def test_who_states_nothing_need_not_wait_for_who_takes_all_cpus() -> None:
    turns = schedule([Waiting(1, Demand(cpus=CPUS, slots=0)), Waiting(2, Demand())], empty(), rooms(1))
    assert ids(turns) == [1, 2]


def test_each_job_gets_accelerators_of_its_own() -> None:
    turns = schedule([Waiting(1, gpus(1)), Waiting(2, gpus(2)), Waiting(3, gpus(1))], empty(), rooms(1))
    assert [turn.devices for turn in turns] == [{0: [0]}, {0: [1, 2]}, {0: [3]}]


def test_parts_share_an_accelerator_and_leave_whole_ones_whole() -> None:
    line = [
        Waiting(1, gpus(0.5)),
        Waiting(2, gpus(0.3)),
        Waiting(3, gpus(0.3)),
        Waiting(4, gpus(0.2)),
        Waiting(5, gpus(2)),
    ]
    turns = schedule(line, empty(), rooms(1))
    assert [turn.devices[0] for turn in turns] == [[0], [0], [1], [0], [2, 3]]


def test_ten_tenths_are_one() -> None:
    turns = schedule([Waiting(n, gpus(0.1)) for n in range(10)], empty(), {0: Room(100, 16, 1)})
    assert len(turns) == 10


def test_who_wants_accelerators_leaves_whole_nodes_free_for_who_wants_all() -> None:
    turns = schedule([Waiting(1, gpus(1)), Waiting(2, gpus(1)), Waiting(3, gpus(GPUS))], empty(), rooms(2))
    assert [list(turn.devices) for turn in turns] == [[0], [0], [1]]


def test_who_wants_none_goes_where_most_is_free() -> None:
    turns = schedule([Waiting(1, Demand()), Waiting(2, Demand()), Waiting(3, Demand())], empty(), rooms(2))
    assert [list(turn.devices) for turn in turns] == [[0], [1], [0]]


def test_a_gang_starts_on_all_its_nodes_or_waits() -> None:
    free = rooms(2)
    free[1].take(gpus(1), [0])
    assert schedule([Waiting(1, gpus(GPUS), 2)], empty(), free) == []
    assert ids(schedule([Waiting(1, gpus(3), 2)], empty(), free)) == [1]


def test_a_job_passes_the_head_only_with_what_the_head_does_not_wait_for() -> None:
    free = rooms(1)
    free[0].take(gpus(1), [0])
    line = [Waiting(1, gpus(GPUS)), Waiting(2, gpus(1)), Waiting(3, Demand(cpus=2, slots=0))]
    assert ids(schedule(line, empty(), free)) == [3]


def test_a_head_that_no_node_could_ever_hold_holds_nobody_up() -> None:
    assert ids(schedule([Waiting(1, gpus(GPUS + 1)), Waiting(2, gpus(1))], empty(), rooms(1))) == [2]


def test_a_long_line_of_the_same_is_looked_at_once() -> None:
    line = [Waiting(n, Demand(cpus=CPUS, slots=0)) for n in range(50_000)]
    assert ids(schedule(line, empty(), rooms(2))) == [0, 1]


OFFER = Offer(
    cloud="local", region="r", zone="z", instance_type="t", cpus=8, memory=32, price=1, accelerators={"A100": 4}
)


def test_what_a_job_states_is_what_it_needs() -> None:
    def of(**fields: object) -> Demand | None:
        return demand_of([Resources(**fields)], OFFER)  # type: ignore[arg-type]

    assert of() == Demand(slots=1)
    assert of(cpus="4+", memory="2x") == Demand(cpus=4, memory=16, slots=0)
    assert of(accelerators="A100:0.5") == Demand(accelerators=0.5)
    assert of(accelerators={"V100": 1, "A100": 2}) == Demand(accelerators=2)
    assert of(accelerators="V100") is None
    assert of(accelerators="A100:8") is None
    assert of(cpus=9) is None
    assert of(memory="33+") is None


def test_of_several_sets_the_first_that_fits_counts() -> None:
    sets = [Resources(accelerators="H100"), Resources(accelerators="A100:2"), Resources(cpus=1)]
    assert demand_of(sets, OFFER) == Demand(accelerators=2)


demands = st.builds(
    Demand,
    cpus=st.sampled_from([0, 0.5, 1, 3, CPUS]),
    memory=st.sampled_from([0, 4, MEMORY]),
    slots=st.sampled_from([0, 1]),
    accelerators=st.sampled_from([0, 0.25, 0.5, 1, 1.5, 2, GPUS]),
)
jobs = st.lists(st.tuples(demands, st.integers(1, 3)), max_size=7)
clusters = st.integers(1, 3)


def line(wanted: list[tuple[Demand, int]], first: int = 0) -> list[Waiting]:
    return [Waiting(first + n, demand, nodes) for n, (demand, nodes) in enumerate(wanted)]


def run(
    turns: list[Turn], by_id: dict[int, Waiting], nodes: int, without: frozenset[int] = frozenset()
) -> dict[int, Room]:
    """The rooms that these turns leave; raises if something is taken twice."""
    free = rooms(nodes)
    for turn in turns:
        if turn.id not in without:
            assert len(turn.devices) == by_id[turn.id].num_nodes
            for rank, devices in turn.devices.items():
                assert len(set(devices)) == len(devices)
                free[rank].take(by_id[turn.id].demand, devices)
    for room in free.values():
        assert min(room.cpus, room.memory, room.slots, *room.devices) > -1e-6, "more is taken than there is"
    return free


def starts(job: Waiting, free: dict[int, Room]) -> bool:
    return bool(schedule([job], empty(), copy.deepcopy(free)))


@given(jobs, jobs, clusters)
def test_nothing_is_taken_twice_and_nothing_that_could_start_waits(
    running: list[tuple[Demand, int]], waiting: list[tuple[Demand, int]], nodes: int
) -> None:
    both = {job.id: job for job in line(running) + line(waiting, 100)}
    before = schedule(line(running), empty(), rooms(nodes))
    free = run(before, both, nodes)
    turns = schedule(line(waiting, 100), empty(), copy.deepcopy(free))
    after = run(before + turns, both, nodes)
    left = [job for job in line(waiting, 100) if job.id not in ids(turns)]
    if left:
        assert not starts(left[0], after), "the head could have started"
    assert schedule(left, empty(), after) == [], "a second look finds somebody"


@given(jobs, jobs, clusters)
def test_nothing_that_passed_the_head_can_ever_delay_it(
    running: list[tuple[Demand, int]], waiting: list[tuple[Demand, int]], nodes: int
) -> None:
    both = {job.id: job for job in line(running) + line(waiting, 100)}
    before = schedule(line(running), empty(), rooms(nodes))
    turns = schedule(line(waiting, 100), empty(), run(before, both, nodes))
    head = next((job for job in line(waiting, 100) if job.id not in ids(turns)), None)
    if head is None:
        return
    earlier = [turn for turn in before + turns if turn.id < head.id]
    passed = [turn for turn in turns if turn.id > head.id]
    for count in range(len(earlier) + 1):
        for ended in map(frozenset, combinations(ids(earlier), count)):
            if starts(head, run(earlier, both, nodes, ended)):
                assert starts(head, run(earlier + passed, both, nodes, ended)), (ended, passed)


@given(st.lists(st.tuples(demands, st.integers(1, 3), st.integers(1, 5)), max_size=12), clusters)
def test_every_job_that_could_run_alone_has_its_turn(wanted: list[tuple[Demand, int, int]], nodes: int) -> None:
    """Time goes on, jobs end in the order of their lengths, and the line is looked at after each."""
    able = [job for job in line([(demand, count) for demand, count, _ in wanted]) if starts(job, rooms(nodes))]
    length = {job.id: wanted[job.id][2] for job in able}
    by_id = {job.id: job for job in able}
    waiting, running, now = able, list[tuple[int, Turn]](), 0
    while waiting:
        turns = schedule(waiting, empty(), run([turn for _, turn in running], by_id, nodes))
        assert running or turns, "nothing runs, and nobody starts"
        running += [(now + length[turn.id], turn) for turn in turns]
        waiting = [job for job in waiting if job.id not in ids(turns)]
        now = min(end for end, _ in running)
        running = [(end, turn) for end, turn in running if end > now]
