"""OPTIMIZE: what every enabled cloud has, ranked."""

from __future__ import annotations

import asyncio

from temporalio import activity

from skyflow import clouds
from skyflow.activities.context import Context
from skyflow.clouds.protocol import Cloud
from skyflow.models.calls import PlanCalls
from skyflow.models.plan import Plan, PlanRequest
from skyflow.optimizer import rank


class PlanActivities(PlanCalls):
    """Reads the clouds' catalogs; decides nothing."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @activity.defn
    async def rank_offers(self, request: PlanRequest) -> Plan:
        """See PlanCalls."""
        enabled = await clouds.enabled(self.context.settings)
        return await asyncio.to_thread(self._rank, request, enabled)

    def _rank(self, request: PlanRequest, enabled: list[Cloud]) -> Plan:
        found = rank(request, [cloud.catalog() for cloud in enabled])
        if not found.offers and request.after is None:
            elsewhere = clouds.other_catalogs(self.context.settings, enabled)
            names = [cloud.name for cloud in enabled]
            if request.clouds is not None and not set(names) & set(request.clouds):
                allowed = ", ".join(request.clouds)
                why = f"allowed_clouds has only {allowed}, and what is enabled is {', '.join(names) or 'nothing'}"
                found.explanation.ruled_out = [why]
            found.explanation.elsewhere = rank(request, elsewhere).offers[:1]
        return found
