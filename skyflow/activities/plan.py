"""OPTIMIZE: the offers of every enabled cloud, ranked."""

from __future__ import annotations

import asyncio

from temporalio import activity

from skyflow import clouds
from skyflow.activities.context import Context
from skyflow.models.calls import PlanCalls
from skyflow.models.plan import Plan, PlanRequest
from skyflow.optimizer import rank


class PlanActivities(PlanCalls):
    """Reads the clouds' offers; decides nothing."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def rank_offers(self, request: PlanRequest) -> Plan:
        """See PlanCalls."""
        enabled = await clouds.enabled(self.context.settings)
        offers = [offer for cloud in enabled for offer in await asyncio.to_thread(cloud.offers)]
        return rank(request, offers)
