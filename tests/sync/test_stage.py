"""The stream: what a node's tar makes of it, when it is compressed, and what is asked for when."""

import io
import os
import tarfile
from collections.abc import AsyncGenerator, Iterator, Sequence

import pytest
import zstandard

from skyflow.models.snapshot import Entry
from skyflow.nodes import stage
from skyflow.nodes.plan import Plan
from skyflow.nodes.stage import compressed, is_compressible, stream


def file(path: str, content: bytes, length: int | None = None) -> Entry:
    size = len(content)
    return Entry(path, "f", 0o640, size, 7_000_000_000, "0" * 64, "", "packs/x", 0, size if length is None else length)


class Contents:
    """A store that has some files, and gives them in pieces of at most so many bytes."""

    def __init__(self, contents: dict[str, bytes], piece: int) -> None:
        self.contents = contents
        self.piece = piece

    async def batches(self, entries: Sequence[Entry]) -> AsyncGenerator[Sequence[tuple[Entry, bytes]], None]:
        for entry in entries:
            data = self.contents[entry.path]
            for start in range(0, len(data), self.piece):
                yield [(entry, data[start : start + self.piece])]


async def read(chunks: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("piece", [1, 512, 10**9])
async def test_what_is_in_it(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(stage, "CHUNK", 700)
    contents = {"d/a": b"a" * 700, "d/e/b": os.urandom(513), "c": b"c" * 1024}
    plan = Plan(
        send=[*(file(path, data) for path, data in contents.items()), file("d/empty", b""),
              Entry("l", "l", 0o777, target="d/a")],
        make=[Entry("d", "d", 0o700), Entry("new", "d", 0o755)],
    )  # fmt: skip
    counted: list[int] = []
    orders = [("changes", b"x" * 600), ("graft", b"")]
    data = await read(stream(Contents(contents, piece), plan, orders, counted.append))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        members = {member.name: member for member in archive}
        got = {name: taken.read() for name in names if (taken := archive.extractfile(members[name]))}
    assert got == {
        **{f"tree/{path}": content for path, content in contents.items()},
        "tree/d/empty": b"", "tree/l": contents["d/a"], "changes": b"x" * 600, "graft": b"", "end": b"",
    }  # fmt: skip
    assert names[-3:] == ["changes", "graft", "end"]
    assert {"tree/d", "tree/d/e", "tree/new"} < set(names)
    assert (members["tree/d/a"].mode, members["tree/d/a"].mtime) == (0o640, 7)
    assert sum(counted) == sum(map(len, contents.values()))


async def test_orders_are_made_while_the_node_unpacks() -> None:
    content = os.urandom(stage.CHUNK)
    asked: list[str] = []

    def orders() -> Iterator[tuple[str, bytes]]:
        asked.append("orders")
        yield "changes", b""

    chunks = stream(Contents({"f": content}, 10**9), Plan(send=[file("f", content)]), orders(), lambda _: None)
    assert content in await anext(chunks)
    assert asked == []
    assert b"changes" in await anext(chunks)


async def test_compression_is_undone() -> None:
    content = b"text" * 100_000

    async def plain() -> AsyncGenerator[bytes, None]:
        yield content
        yield b"end"

    data = await read(compressed(plain()))
    assert len(data) < 1000
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == content + b"end"


@pytest.mark.parametrize(
    ("size", "length", "number", "expected"),
    [
        (4096, 4100, 1000, False),  # full of what cannot be compressed
        (64, 80, 1000, True),  # most of the stream are headers
        (4096, 1000, 1000, True),
        (4096, 100, 3, False),  # so little that it does not matter
        (10 << 20, 11 << 20, 1, False),
        (0, 0, 1000, True),
    ],
)
def test_when_it_is_worth_it(size: int, length: int, number: int, expected: bool) -> None:
    entry = Entry("f", "f", 0o644, size, length=length)
    assert is_compressible(Plan(send=[entry] * number)) is expected
