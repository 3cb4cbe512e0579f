"""A real supervisor whose worker is a stand-in, and the stand-in. Arguments: version, worker command…, `--`, lock."""

import os
import signal
import sys

from skyflow.worker.supervisor import main


def work() -> None:
    """Serves nothing, and says when it is drained."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print("serving", os.environ["TEMPORAL_ADDRESS"], flush=True)
    signal.sigwait({signal.SIGTERM})
    print("drained", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        work()
    else:
        version, *worker = sys.argv[1 : sys.argv.index("--")]
        sys.exit(main(sys.argv[sys.argv.index("--") + 1 :], os.environ, worker=worker, version=version))
