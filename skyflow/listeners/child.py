"""A program of its own, with the arguments PARENT and SCRIPT: becomes bash, and ends with its parent.

So a worker that is killed leaves no script running that the next worker would run once more (Linux only). It imports
nothing of ours: the variables of a task are in its environment.
"""

from __future__ import annotations

import os
import signal
import sys


def main(parent: int, script: str) -> None:
    """Does not return."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, kept through exec
        if os.getppid() != parent:
            os._exit(1)
    os.execvp("bash", ["bash", script])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
