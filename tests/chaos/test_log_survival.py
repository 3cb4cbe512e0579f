"""What `skyflow logs` prints is what the nodes wrote, byte for byte, whatever is killed meanwhile."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.chaos.conftest import Lab

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

LINES = 100_000
KILLS = 20

RUN = f"""python3 -u -c '
import sys, time
for number in range(1, {LINES + 1}):
    print(number)
    if number % 2000 == 0:
        sys.stdout.flush()
        time.sleep(1)
'"""


def test_logs_are_whole_after_twenty_kills_and_a_stopped_worker(lab: Lab) -> None:
    lab.ok("launch", "-c", "long", "-d", "--num-nodes", "2", RUN)
    dice = random.Random(20261124)
    following = lab.start("logs", "long", "-w", "1")
    for kill in range(KILLS):
        time.sleep(dice.uniform(0.5, 3))
        if kill == KILLS // 2:
            stopped = lab.kill("worker", signal.SIGSTOP)
            lab.boot("worker")  # its replacement, beside it
            time.sleep(8)
            stopped.send_signal(signal.SIGCONT)
            time.sleep(2)
            stopped.kill()
            stopped.wait()
        else:
            lab.kill(dice.choice(["worker", "worker", "server"]))
    followed, err = following.communicate(timeout=300)
    assert following.returncode == 0, err
    expected = "".join(f"{number}\n" for number in range(1, LINES + 1))
    assert followed == expected
    assert len(lab.nodes()) == 2
    for home in lab.nodes():
        (log,) = home.glob(".skyflow/jobs/*/1/log")
        assert log.read_text() == expected
    for rank in ("0", "1"):
        assert lab.ok("logs", "long", "1", "-w", rank) == expected
    lab.ok("down", "long", "-y")
    assert lab.ok("logs", "long", "1", "-w", "0") == expected
    lab.wait_for_no_nodes()
