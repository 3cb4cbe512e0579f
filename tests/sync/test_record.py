"""What a node remembers: it says of every path all that it could hold, wherever a sync died."""

from collections.abc import Mapping

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from skyflow.nodes import record
from skyflow.nodes.record import NOTHING, Record, amend, encode_paths, parse_record, parse_stats

PATHS = st.sampled_from(["a", "b", "c d", "e\nf", "\udcff", "-rf", "a/b", "x/\ny", "ü"])
MARKS = st.sampled_from(["f0123456789abcdef 1 2", "f0 0 0", "d 0 0", "l99 0 0"])
Marks = dict[str, str]
State = dict[str, bytes]


def answer(state: State, stats: bytes = b"", zstd: bytes = b"zstd") -> bytes:
    """What apply.sh would print."""
    if "list" not in state:
        return zstd + b"\n"
    return zstd + b"\n" + state["list"] + state.get("changes", b"\n") + stats


def files_for(now: Record, marks: Marks, kind: str = "d") -> State:
    changed = dict(marks.items() - now.marks.items())
    return dict(amend(now, kind, marks, changed, now.marks.keys() - marks.keys()))


def begin(state: State, files: State) -> State:
    """What apply.sh does before it changes anything."""
    return {**state, "list": files["list"]} if "list" in files else {**state, "changes": files["before"]}


def end(state: State, files: State) -> State:
    return {**state, "changes": files["changes"]}


def could_hold(marks: Mapping[str, str]) -> dict[str, set[str]]:
    return {path: set(mark.split(",")) for path, mark in marks.items()}


@given(st.lists(st.tuples(st.dictionaries(PATHS, MARKS), st.booleans()), max_size=6), st.sampled_from([0, 2, 100]))
def test_any_syncs_one_after_the_other(steps: list[tuple[Marks, bool]], few: int) -> None:
    state: State = {}
    possible: dict[str, set[str]] = {}
    generations = {NOTHING}
    before, record.FEW = record.FEW, few
    try:
        for marks, dies in steps:
            now = parse_record(answer(state))
            files = files_for(now, marks)
            state = begin(state, files)
            between = parse_record(answer(state))
            for path, mark in marks.items():
                possible.setdefault(path, set()).add(mark)
            assert could_hold(between.marks) == possible
            generations.add(between.generation)
            if dies:
                continue
            state = end(state, files)
            after = parse_record(answer(state))
            assert after.marks == marks
            possible = could_hold(marks)
            generations.add(after.generation)
        assert len(generations) == 1 + len(steps) + sum(not dies for _, dies in steps)
    finally:
        record.FEW = before


def test_few_changes_are_written_beside_the_list() -> None:
    marks = {f"f{number}": f"f0 {number} 0" for number in range(1000)}
    files = files_for(Record(), marks)
    assert list(files) == ["list", "changes"]
    state = end(begin({}, files), files)
    marks["f7"] = "f1 7 0"
    files = files_for(parse_record(answer(state)), marks)
    assert list(files) == ["before", "changes"]
    assert sum(map(len, files.values())) < 300
    state = end(begin(state, files), files)
    for number in range(500):
        marks[f"f{number}"] = "f2 0 0"
    assert list(files_for(parse_record(answer(state)), marks)) == ["list", "changes"]


def test_many_small_syncs_do_not_pile_up() -> None:
    state: State = {}
    lists = 0
    for number in range(300):
        marks = {f"f{n}": f"f{n if n <= number else 0} 0 0" for n in range(400)}
        files = files_for(parse_record(answer(state)), marks)
        lists += "list" in files
        state = end(begin(state, files), files)
        assert len(parse_record(answer(state)).changes) <= record.FEW + 1
    assert 1 < lists < 10
    assert parse_record(answer(state)).marks == marks


def test_changes_of_another_list_do_not_count() -> None:
    """The list was replaced, and the sync that did it died before it could replace the changes."""
    first = files_for(Record(), {"a": "f1 0 0"})
    state = end(begin({}, first), first)
    small = files_for(parse_record(answer(state)), {"a": "f2 0 0"})
    state = end(begin(state, small), small)
    other = files_for(Record(), {"b": "f3 0 0"})
    state["list"] = other["list"]
    now = parse_record(answer(state))
    assert now.marks == {"b": "f3 0 0"}
    assert now.generation == now.base


def test_another_kind_is_written_anew() -> None:
    files = files_for(Record(), {})
    state = end(begin({}, files), files)
    assert parse_record(answer(state)).kind == "d"
    files = files_for(parse_record(answer(state)), {"a": "f1 0 0"}, kind="f")
    assert parse_record(answer(end(begin(state, files), files))).kind == "f"


def test_an_answer_may_be_packed() -> None:
    files = files_for(Record(), {"a": "f1 0 0", "b": "f2 0 0"})
    plain = answer(begin({}, files), b"81a4 1 2 ./a//\n41ed 40 3 ./e\nf//\n")
    first, _, rest = plain.partition(b"\n")
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = first + b"\n" + compressor.compress(rest) + compressor.flush()
    assert parse_record(packed) == parse_record(plain)
    assert parse_record(plain).stats >= {"81a4 1 2 ./a", "41ed 40 3 ./e\nf"}
    assert parse_record(b"plain\n") == Record()


def test_stats() -> None:
    lines = ["81a4 1 2 ./a", "41ed 40 -3 ./e\nf", "a1ff 4 5 ./l", "c1ff 0 0 ./socket", "", "junk"]
    seen = parse_stats(lines)
    assert {path: now.kind for path, now in seen.items()} == {"a": "f", "e\nf": "d", "l": "l", "socket": None}
    assert seen["a"] == ("f", 0o644, 1, 2)
    assert seen["e\nf"] == ("d", 0o755, 40, -3)


def test_paths_for_xargs() -> None:
    assert encode_paths([]) == b""
    assert encode_paths(["a", "-b", "\udcff"]) == b"./a\0./-b\0./\xff\0"
