"""The dev server's flags are written once."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from skyflow.worker import dev_server

ROOT = Path(__file__).parents[2]


def test_compose_file_and_constants_agree() -> None:
    services = yaml.safe_load((ROOT / "temporal-dev.yml").read_text())["services"]
    assert services["temporal"]["command"] == dev_server.compose()
    published = [entry.split(":") for entry in services["temporal"]["ports"]]
    assert published == [["127.0.0.1", str(port), str(port)] for port in (dev_server.PORT, dev_server.UI_PORT)]
    assert services["worker"]["image"] == services["temporal"]["image"]


def test_print_prints_what_the_compose_file_says() -> None:
    command = [sys.executable, "-m", "skyflow.worker.dev_server", "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == dev_server.compose()
