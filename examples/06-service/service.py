"""A web service that launches: other people's programs start tasks over HTTP and ask how they are.

    pip install fastapi uvicorn
    uvicorn --app-dir examples/06-service service:app
    curl localhost:8000/launches -H 'content-type: application/json' -d '{"run": "echo hello", "cluster": "web"}'

The service holds nothing that could be lost: a launch goes on while it restarts, and is found again by its id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

import skyflow
from skyflow.errors import SkyflowError


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """One connection for the life of the service."""
    async with skyflow.Client.connect() as client:
        app.state.client = client
        yield


app = FastAPI(title="launches", lifespan=connected)


class NewLaunch(BaseModel):
    run: str
    cluster: str | None = None
    num_nodes: int = 1
    envs: dict[str, str] = {}


def client_of(request: Request) -> skyflow.Client:
    client: skyflow.Client = request.app.state.client
    return client


@app.post("/launches", status_code=202)
async def start(new: NewLaunch, request: Request) -> dict[str, str]:
    """Starts a launch whose nodes go when its job has ended."""
    task = skyflow.Task(run=new.run, num_nodes=new.num_nodes, envs=new.envs)
    try:
        launch = await client_of(request).launch(task, new.cluster, down=True)
    except SkyflowError as error:
        raise HTTPException(400, str(error)) from error
    return {"id": launch.workflow_id, "cluster": launch.cluster_name}


@app.get("/launches/{launch_id:path}/logs")
async def logs(launch_id: str, request: Request) -> StreamingResponse:
    """The output as it arrives, until the launch ends."""

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in client_of(request).attach(launch_id).logs():
            yield chunk.data

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/launches/{launch_id:path}")
async def progress(launch_id: str, request: Request) -> dict[str, Any]:
    """How far it is: stages, places that were tried, the job's status."""
    try:
        return await client_of(request).attach(launch_id).progress()
    except SkyflowError as error:
        raise HTTPException(404, str(error)) from error


@app.delete("/launches/{launch_id:path}", status_code=202)
async def cancel(launch_id: str, request: Request) -> None:
    """Stops the job and deletes the nodes."""
    await client_of(request).attach(launch_id).cancel()
