"""Google's price list: what one CPU, GiB and GPU costs where, read out of the descriptions of its thousands of SKUs.

The list has no field that names a machine family or a kind of GPU; its descriptions are what everybody goes by. What is
not recognised is not read, and a machine of which any part has no price has none either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skyflow.models.accelerator import canonical

HOURS_A_MONTH = 730

_NODE = re.compile(
    r"(?P<family>[A-Z][0-9]+[A-Za-z]*)(?: Predefined| AMD| Arm| Memory-optimized)? Instance "
    r"(?P<part>Core|Ram|Local SSD) running in .+"
)
_OLD_NODE = re.compile(r"(?P<family>Compute|Memory)[- ]optimized(?: Instance)? (?P<part>Core|Ram) running in .+")
_GPU = re.compile(r"(?:Nvidia )?(?:Tesla )?(?P<gpu>.+?) GPU(?: attached to Spot Preemptible VMs)? running in .+")
_SLICE = re.compile(r"(?P<family>A4) Nvidia (?P<gpu>\w+) \(1 gpu slice\) running in .+")
_SSD = re.compile(r"SSD backed Local Storage(?: attached to Spot Preemptible VMs?)?(?: (?:running )?in .+)?")

_OLD_FAMILIES = {"Compute": "c2", "Memory": "m1"}
_FAMILIES = {"a3-megagpu": "a3plus", "a3-ultragpu": "a3ultra"}
"""Beginnings of names of instance types whose family is not the first word of the name."""
_GPUS = {"H100 80GB Mega": "H100-MEGA", "H100 80GB Plus": "H100-MEGA"}


@dataclass(frozen=True)
class Machine:
    """What of an instance type has a price."""

    name: str
    cpus: float
    memory: float
    accelerator: str | None = None
    count: float = 0
    local_ssd: float = 0
    """GiB that come with it."""


class Rates:
    """What the parts of machines cost an hour.

    Args:
        skus: as Cloud Billing's `services.skus.list` answers.
    """

    def __init__(self, skus: Iterable[Mapping[str, Any]]) -> None:
        self._rates: dict[tuple[str, str, str, bool], float] = {}
        for sku in skus:
            category = sku["category"]
            description = sku["description"]
            if category["usageType"] not in ("OnDemand", "Preemptible") or not sku.get("pricingInfo"):
                continue
            # Some spot SKUs say that they are on demand; their descriptions are right.
            spot = category["usageType"] == "Preemptible" or "Preemptible" in description
            part = _part(re.sub(r"^(Spot )?Preemptible ", "", description))
            if part is not None:
                for region in sku["serviceRegions"]:
                    self._rates[*part, region, spot] = _rate(sku["pricingInfo"][-1]["pricingExpression"])

    def machine(self, machine: Machine, region: str, *, spot: bool) -> float | None:
        """US dollars an hour for a whole machine, or None if any part of it has no price."""
        words = machine.name.split("-")
        family = _FAMILIES.get("-".join(words[:2]), words[0])
        whole = self._rates.get(("slice", f"{family} {machine.accelerator}", region, spot))
        if whole is not None:
            return round(whole * machine.count, 6)
        parts = [
            (machine.cpus, self._rates.get(("Core", family, region, spot))),
            (machine.memory, self._rates.get(("Ram", family, region, spot))),
        ]
        if machine.accelerator is not None:
            parts.append((machine.count, self.gpu(machine.accelerator, region, spot=spot)))
        if machine.local_ssd:
            own = self._rates.get(("Local SSD", family, region, spot))
            parts.append((machine.local_ssd, self._rates.get(("Local SSD", "", region, spot)) if own is None else own))
        price = 0.0
        for amount, rate in parts:
            if rate is None:
                return None
            price += amount * rate
        return round(price, 6)

    def gpu(self, accelerator: str, region: str, *, spot: bool) -> float | None:
        """US dollars an hour for one GPU, without a machine."""
        return self._rates.get(("GPU", accelerator, region, spot))


def _part(description: str) -> tuple[str, str] | None:
    """What the price of a SKU is for: `Core`, `Ram` or `Local SSD` of a family, a `GPU`, a `slice` of a machine."""
    if found := _NODE.fullmatch(description):
        return found["part"], found["family"].lower()
    if found := _OLD_NODE.fullmatch(description):
        return found["part"], _OLD_FAMILIES[found["family"]]
    if found := _SLICE.fullmatch(description):
        return "slice", f"{found['family'].lower()} {found['gpu']}"
    if found := _GPU.fullmatch(description):
        return "GPU", _GPUS.get(found["gpu"], canonical(found["gpu"].replace(" ", "-")))
    return ("Local SSD", "") if _SSD.fullmatch(description) else None


def _rate(expression: Mapping[str, Any]) -> float:
    price = expression["tieredRates"][-1]["unitPrice"]
    rate = int(price.get("units", 0)) + int(price.get("nanos", 0)) / 1e9
    return rate / HOURS_A_MONTH if expression["usageUnit"].endswith(".mo") else rate
