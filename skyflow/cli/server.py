"""`skyflow server` and `skyflow worker`."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict

from skyflow import endpoint
from skyflow.cli import view
from skyflow.errors import EmbeddedServerError, SkyflowError, TemporalUnavailableError
from skyflow.settings import Settings


def start() -> None:
    """Starts the embedded server and says where it is."""
    record = endpoint.start(Settings.load())
    print(f"Temporal at {record.address}, Web UI {record.ui}")


def stop() -> None:
    """Stops the embedded server, and the host of local nodes if there are none.

    As for `status` and `logs`, the environment is enough: no file of settings that is wrong is in the way.
    """
    from skyflow.clouds.local.host_client import dismiss

    settings = Settings.from_env()
    ran = endpoint.stop(settings)
    dismiss(settings)
    print("Stopped. Nodes and their jobs go on; workflows go on with the next start." if ran else "It does not run.")


def status(output: str) -> None:
    """Says whether the embedded server runs, and where. Fails if it does not."""
    record = endpoint.status(Settings.from_env())
    if record is None:
        raise EmbeddedServerError("The background server does not run. Start it: skyflow server start")
    if record.error:
        raise EmbeddedServerError(record.error)
    if output == "json":
        view.as_json(asdict(record))
        return
    since = view.span(time.time() - record.started)
    print(f"{record.state}: Temporal at {record.address}, Web UI {record.ui}, version {record.version}, up {since}")


def logs() -> None:
    """Prints the end of each of its logs."""
    for part in ("supervisor", "server", "worker"):
        path = endpoint.log_path(Settings.from_env(), part)
        print(f"==> {path} <==")
        if path.exists():
            print("\n".join(path.read_text(errors="replace").splitlines()[-50:]))


def setup(apply: bool) -> None:
    """Prints, or adds, the search attributes that make skyflow's workflows easy to find."""
    from skyflow.worker.dev_server import SEARCH_ATTRIBUTES

    if not apply:
        print("skyflow works without these; with them, workflows can be found by cluster and status:")
        for name in SEARCH_ATTRIBUTES:
            print(f"  temporal operator search-attribute create --name {name} --type Keyword")
        print("Keep closed workflows for a month:\n  temporal operator namespace update --retention 720h")
        return
    asyncio.run(_apply(list(SEARCH_ATTRIBUTES)))
    print(f"The namespace has {', '.join(SEARCH_ATTRIBUTES)}. Workers notice when they start again.")


async def _apply(names: list[str]) -> None:
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
    from temporalio.client import Client, RPCError
    from temporalio.service import RPCStatusCode

    where = endpoint.resolve(Settings.load())
    where.start_if_needed().wait_ready()
    try:
        client = await Client.connect(**where.connect_config())
        kinds = dict.fromkeys(names, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD)
        request = AddSearchAttributesRequest(search_attributes=kinds, namespace=client.namespace)
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise SkyflowError(f"Temporal at {where.address} refused: {error.message}") from error
    except (RuntimeError, ValueError) as error:
        raise TemporalUnavailableError(
            f"Temporal at {where.address} does not answer ({endpoint.plain_reason(error)})."
        ) from error


def run_worker() -> None:
    """Runs a worker in the foreground."""
    from skyflow.worker.main import run

    view.say("skyflow: worker starting; Ctrl-C or SIGTERM drains it")
    asyncio.run(run(Settings.load()))
    sys.stdout.flush()
