"""A local node switches itself off.

    python -m skyflow.clouds.local.power_off NODE_FOLDER NODE_ID

Every command on a node finds this line in its environment. It needs neither the host nor the node's server: it marks
the node as stopped and ends what runs there, as the host does for who asks it to.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

from skyflow.clouds.local.folder import NodeFolder
from skyflow.clouds.local.process import halt

POWER_OFF = "SKYFLOW_POWER_OFF"
"""Environment variable with the command."""


def command(folder: NodeFolder, node_id: str) -> str:
    """The command, for a shell. It runs without the node's marker, or it would end itself before the rest."""
    kept = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PYTHON")]
    return shlex.join(["env", "-i", *kept, sys.executable, "-m", f"{__package__}.power_off", str(folder.path), node_id])


def main(argv: list[str]) -> None:
    """Switches a node off."""
    path, node_id = argv
    folder = NodeFolder(Path(path))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever called it is about to end
    with suppress(PermissionError):  # it leads a group already
        os.setsid()
    folder.mark_stopped()
    halt(folder, node_id)


if __name__ == "__main__":
    main(sys.argv[1:])
