"""Cloud Billing's price list and Compute Engine's lists as far as a refresh reads them, paged, as REST answers them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.catalog.fake import Answer, Request, serve

SKUS = "/v1/services/6F81-5844-456A/skus"
PAGE = 5


@dataclass
class FakeGcp:
    """What it has, as the APIs say it."""

    project: str = "my-project"
    skus: list[dict[str, Any]] = field(default_factory=list)
    machine_types: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By zone."""
    accelerator_types: dict[str, list[str]] = field(default_factory=dict)
    """Zone → names."""
    refusals: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """The last word of a path → what it answers before it answers well: status and message."""
    asked: list[str] = field(default_factory=list)
    """Paths of all requests."""

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Gives the URL for SKYFLOW_GCP_ENDPOINT."""
        with serve(self._answer) as url:
            yield url

    def _answer(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        arguments = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(parts.path)
        what = parts.path.rsplit("/", 1)[-1]
        if refusals := self.refusals.get(what):
            status, message = refusals.pop(0)
            return status, "application/json", json.dumps({"error": {"code": status, "message": message}})
        found, token = self._found(parts.path, arguments)
        return 200, "application/json", json.dumps(found | ({"nextPageToken": token} if token else {}))

    def _found(self, path: str, arguments: dict[str, str]) -> tuple[dict[str, Any], str]:
        start = int(arguments.get("pageToken") or 0)
        if path == SKUS:
            token = str(start + PAGE) if len(self.skus) > start + PAGE else ""
            return {"skus": self.skus[start : start + PAGE]}, token
        prefix, _, what = path.rpartition("/")
        assert prefix == f"/compute/v1/projects/{self.project}/aggregated", path
        by_zone: dict[str, list[Any]] = (
            self.machine_types
            if what == "machineTypes"
            else {
                zone: [{"name": name, "zone": zone, "maximumCardsPerInstance": 4} for name in names]
                for zone, names in self.accelerator_types.items()
            }
        )
        zones = list(by_zone)[start : start + 1]  # a page a zone
        items: dict[str, Any] = {f"zones/{zone}": {what: by_zone[zone]} for zone in zones}
        items |= {"regions/nowhere": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "None."}}}
        return {"kind": f"compute#{what}", "items": items}, str(start + 1) if len(by_zone) > start + 1 else ""


def sku(
    description: str, price: float, *regions: str, usage: str = "OnDemand", unit: str = "h", family: str = "Compute"
) -> dict[str, Any]:
    """An entry of the price list."""
    units, nanos = divmod(round(price * 1e9), 10**9)
    rate = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": str(units), "nanos": nanos}}
    expression = {"usageUnit": unit, "displayQuantity": 1, "tieredRates": [rate]}
    return {
        "skuId": "AAAA-0000-0000",
        "description": description,
        "category": {"resourceFamily": family, "resourceGroup": "CPU", "usageType": usage},
        "serviceRegions": list(regions),
        "pricingInfo": [{"summary": "", "pricingExpression": expression, "currencyConversionRate": 1}],
    }


def machine_type(name: str, cpus: int, mib: int, **more: Any) -> dict[str, Any]:
    """An entry of the list of machine types."""
    return {"name": name, "guestCpus": cpus, "memoryMb": mib, "isSharedCpu": False, "architecture": "X86_64", **more}
