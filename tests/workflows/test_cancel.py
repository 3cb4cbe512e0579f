"""A cancel counts, also if what was awaited comes back in spite of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from skyflow.workflows.call import heeding_cancels


async def stubborn() -> str:
    """As an activity that has completed when its cancel arrives."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "done"


async def heeding() -> str:
    with heeding_cancels():
        return await asyncio.create_task(stubborn())


async def test_a_result_does_not_swallow_a_cancel() -> None:
    task = asyncio.create_task(heeding())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_cleans_up_after_a_cancel_is_not_cancelled_again() -> None:
    async def cleaning() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with heeding_cancels():
                await asyncio.sleep(0)
            return "cleaned up"
        raise AssertionError

    task = asyncio.create_task(cleaning())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"
