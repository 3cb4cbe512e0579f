"""Headers are those that Python's own tarfile writes."""

from __future__ import annotations

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from skyflow.models.snapshot import LAST_TAR_SECOND
from skyflow.nodes import tar

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=130)


@given(
    name=NAMES,
    kind=st.sampled_from([tar.FILE, tar.FOLDER, tar.LINK]),
    mode=st.integers(0, 0o777),
    size=st.one_of(st.integers(0, 1 << 20), st.integers(tar.MAX_SIZE - 2, tar.MAX_SIZE + 2)),
    mtime=st.integers(0, LAST_TAR_SECOND),
)
def test_a_header_is_what_tarfile_writes(name: str, kind: bytes, mode: int, size: int, mtime: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, mtime
    info.linkname = "target" if kind == tar.LINK else ""
    expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    assert tar.member(name, kind, mode, size=size, mtime=mtime, target=info.linkname) == expected


def test_a_stream_reads_back() -> None:
    content = b"x" * 700
    stream = tar.member("d", tar.FOLDER, 0o755) + tar.member("d/\udcff", tar.FILE, 0o600, size=700, mtime=7)
    with tarfile.open(fileobj=io.BytesIO(stream + content + tar.padding(700) + tar.END)) as archive:
        assert archive.getnames() == ["d", "d/\udcff"]
        file = archive.extractfile("d/\udcff")
        assert file is not None
        assert file.read() == content
