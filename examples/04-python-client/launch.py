"""Launches a task from Python, shows its output, and takes the node down again."""

from __future__ import annotations

import asyncio
import sys

import skyflow


async def main() -> None:
    task = skyflow.Task(name="sum", run='echo "the sum is $((A + B))"', envs={"A": "40", "B": "2"})
    async with skyflow.Client.connect(notice=lambda line: print(line, file=sys.stderr)) as client:
        launch = await client.launch(task, cluster_name="from-python", down=True)
        async for chunk in launch.logs():
            print(chunk.data.decode(), end="")
        result = await launch.result()
        print(f"job {result['job_id']}: {result['status']}; nodes taken down: {result['down']}")


if __name__ == "__main__":
    asyncio.run(main())
