"""Trees for tests: made on disk, read back, and drawn at random."""

import os
import stat
from pathlib import Path

from hypothesis import strategies as st

Tree = dict[bytes, tuple[str, int, bytes]]
"""By path: kind, permission bits, and a file's bytes or a link's target."""

ODD_NAMES = [b"a", b"b", b"-rf", b"c d", b"e\nf", b"'\"$`\\", b"\xff\xfe", b"\xc3\xbc", b"*?", b".hidden", b"..x", b"~"]


def write_tree(root: Path, tree: Tree) -> None:
    """Makes `root` hold exactly this tree."""
    base = os.fsencode(root)
    remove_tree(base)
    os.makedirs(base)
    for path, (kind, mode, data) in sorted(tree.items()):
        full = os.path.join(base, path)
        if kind == "d":
            os.mkdir(full)
        elif kind == "l":
            os.symlink(data, full)
        else:
            with open(full, "wb") as file:
                file.write(data)
            os.chmod(full, mode)
    for path, (kind, mode, _) in sorted(tree.items(), reverse=True):
        if kind == "d":
            os.chmod(os.path.join(base, path), mode)


def remove_tree(base: bytes) -> None:
    if not os.path.isdir(base):
        return
    for folder, _, _ in os.walk(base):
        os.chmod(folder, 0o700)
    for folder, folders, files in os.walk(base, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            full = os.path.join(folder, name)
            (os.unlink if os.path.islink(full) else os.rmdir)(full)
    os.rmdir(base)


def read_tree(root: Path) -> Tree:
    """What `root` holds."""
    base = os.fsencode(root)
    result: Tree = {}
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            full = os.path.join(folder, name)
            status = os.lstat(full)
            mode = stat.S_IMODE(status.st_mode)
            path = os.path.relpath(full, base)
            if stat.S_ISLNK(status.st_mode):
                result[path] = ("l", 0o777, os.readlink(full))
            elif stat.S_ISDIR(status.st_mode):
                result[path] = ("d", mode, b"")
            else:
                with open(full, "rb") as file:
                    result[path] = ("f", mode, file.read())
    return result


def _nested(children: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    folder = st.dictionaries(st.sampled_from(ODD_NAMES), children, max_size=4)
    return st.tuples(st.just("d"), st.sampled_from([0o755, 0o700, 0o555]), folder)


_leaves = st.one_of(
    st.tuples(
        st.just("f"), st.sampled_from([0o644, 0o755, 0o444, 0o600]), st.sampled_from([b"", b"1", b"2", b"long" * 99])
    ),
    st.tuples(st.just("l"), st.just(0o777), st.sampled_from([b"a", b"../b", b"/nowhere", b"\xff"])),
)


def _flatten(folder: dict[bytes, tuple[str, int, object]], prefix: bytes = b"") -> Tree:
    result: Tree = {}
    for name, (kind, mode, data) in folder.items():
        if isinstance(data, dict):
            result[prefix + name] = (kind, mode, b"")
            result.update(_flatten(data, prefix + name + b"/"))
        else:
            assert isinstance(data, bytes)
            result[prefix + name] = (kind, mode, data)
    return result


trees: st.SearchStrategy[Tree] = st.dictionaries(
    st.sampled_from(ODD_NAMES), st.recursive(_leaves, _nested, max_leaves=8), max_size=6
).map(_flatten)  # type: ignore[arg-type]
"""Small trees of files, links and folders, whose names are as odd as names can be."""
