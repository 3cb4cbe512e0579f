"""AWS's own figures: its price list, and what each region of this account offers. Only reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from skyflow.catalog.order import natural
from skyflow.catalog.table import LACKS, Catalog, InstanceType, Listing
from skyflow.errors import SkyflowError, UsageError
from skyflow.models.accelerator import MEMORY, canonical

if TYPE_CHECKING:
    from skyflow.catalog.refresh import Progress

HOME_REGION = "us-east-1"
"""Has the price list of all regions."""
AT_ONCE = 6
"""Regions read at the same time. AWS counts calls by region; the price list alone is asked for all of them."""

ATTEMPTS = 8
"""Of each call: the price list allows few a second."""

_KEPT_OUT = ("UnauthorizedOperation", "AuthFailure", "OptInRequired", "AccessDenied", "AccessDeniedException")
"""What a region answers that this account has not switched on, or that its organization forbids."""
_PRODUCT = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
_OTHER_NAMES = {"GaudiHL-205": "Gaudi"}
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)


@dataclass
class _Region:
    """What one region has."""

    name: str
    zone_names: dict[str, str] = field(default_factory=dict)
    """Zone's id → its name in this account."""
    types: dict[str, InstanceType] = field(default_factory=dict)
    offered: dict[str, set[str]] = field(default_factory=dict)
    """Instance type → zones' ids."""
    prices: dict[str, float] = field(default_factory=dict)
    spot_prices: dict[tuple[str, str], float] = field(default_factory=dict)
    """Instance type and zone's id → price."""


def fetch(env: Mapping[str, str], progress: Progress) -> Catalog:
    """See refresh. boto3 reads the environment itself (`AWS_PROFILE`, `AWS_ENDPOINT_URL_EC2`, …)."""
    with _errors():
        session = boto3.Session()
        attempts = {} if "AWS_MAX_ATTEMPTS" in env else {"total_max_attempts": ATTEMPTS}
        config = Config(retries={"mode": "standard", **attempts})
        prices = session.client("pricing", region_name=HOME_REGION, config=config)
        home = session.client("ec2", region_name=session.region_name or HOME_REGION, config=config)
        names = sorted(region["RegionName"] for region in home.describe_regions()["Regions"])
        # All made here: clients may be used by any thread, sessions may not.
        clients = {name: session.client("ec2", region_name=name, config=config) for name in names}
        regions: list[_Region] = []
        kept_out: dict[str, ClientError] = {}
        progress("regions of AWS", 0, len(names))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for name, found in zip(
                names, pool.map(lambda name: _read(name, clients[name], prices), names), strict=True
            ):
                if isinstance(found, ClientError):
                    kept_out[name] = found
                else:
                    regions.append(found)
                progress("regions of AWS", len(regions) + len(kept_out), len(names))
        if not regions and kept_out:
            raise next(iter(kept_out.values()))
        return _catalog(regions, sorted(kept_out))


def _catalog(regions: list[_Region], kept_out: list[str]) -> Catalog:
    notes = [f"Left out, for this account may not look there: {', '.join(kept_out)}."] if kept_out else []
    types = {name: one for region in regions for name, one in region.types.items()}
    return Catalog(
        cloud="aws",
        listings=[
            one for name in sorted(types, key=natural) for region in regions for one in _list(types[name], region)
        ],
        zone_names={zone: name for region in regions for zone, name in sorted(region.zone_names.items())},
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        source="AWS's Pricing and EC2 APIs",
        notes=("Spot prices are those of the moment when they were read.", *notes),
        lacks=LACKS["aws"],
    )


def _list(one: InstanceType, region: _Region) -> Iterator[Listing]:
    """A listing for each spot price that zones of the region have."""
    price = region.prices.get(one.name)
    zones: dict[float | None, list[str]] = {}
    for zone in sorted(region.offered.get(one.name, ())):
        zones.setdefault(region.spot_prices.get((one.name, zone)), []).append(zone)
    for spot_price, names in zones.items():
        if price is not None or spot_price is not None:
            yield Listing(one, region.name, tuple(names), price, spot_price)


def _read(name: str, ec2: Any, prices: Any) -> _Region | ClientError:
    """A region, or the refusal of one that is closed to this account."""
    region = _Region(name)
    try:
        zones = ec2.describe_availability_zones(Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}])
        region.zone_names = {zone["ZoneId"]: zone["ZoneName"] for zone in zones["AvailabilityZones"]}
        for found in _pages(ec2, "describe_instance_types", "InstanceTypes"):
            if (one := _instance_type(found)) is not None:
                region.types[one.name] = one
        by_zone = _pages(
            ec2, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone-id"
        )
        for offering in by_zone:
            if offering["Location"] in region.zone_names:
                region.offered.setdefault(offering["InstanceType"], set()).add(offering["Location"])
        region.spot_prices = _spot_prices(ec2, region)
    except ClientError as error:
        if error.response["Error"]["Code"] in _KEPT_OUT:
            return error
        raise
    region.prices = _prices(prices, name)
    return region


def _spot_prices(ec2: Any, region: _Region) -> dict[tuple[str, str], float]:
    """The prices of now: a history that begins now has the last one before it."""
    ids = {name: zone for zone, name in region.zone_names.items()}
    kind = {"ProductDescriptions": ["Linux/UNIX"], "StartTime": datetime.now(UTC)}
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    for found in _pages(ec2, "describe_spot_price_history", "SpotPriceHistory", **kind):
        if (zone := ids.get(found["AvailabilityZone"])) is not None:
            key, value = (found["InstanceType"], zone), (found["Timestamp"], float(found["SpotPrice"]))
            newest[key] = max(newest.get(key, value), value)
    return {key: price for key, (_, price) in newest.items()}


def _prices(prices: Any, region: str) -> dict[str, float]:
    """Instance type → US dollars an hour on demand."""
    wanted = {**_PRODUCT, "regionCode": region}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    found = {}
    for text in _pages(prices, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters):
        product = json.loads(text)
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                price = float(dimension["pricePerUnit"].get("USD", 0))
                if price > 0 and dimension["unit"] == "Hrs":  # 0 stands for what is not sold so
                    found[product["product"]["attributes"]["instanceType"]] = price
    return found


def _instance_type(found: dict[str, Any]) -> InstanceType | None:
    """What EC2 says of an instance type; None for what no task could use: bare metal, Macs, FPGAs, parts of a GPU."""
    arch = next((one for one in ("x86_64", "arm64") if one in found["ProcessorInfo"]["SupportedArchitectures"]), None)
    if arch is None or found.get("BareMetal") or "FpgaInfo" in found or "MediaAcceleratorInfo" in found:
        return None
    node = InstanceType(
        name=found["InstanceType"],
        cpus=found["VCpuInfo"]["DefaultVCpus"],
        memory=_gib(found["MemoryInfo"]["SizeInMiB"]),
        arch=arch,
    )
    devices = (
        found.get("GpuInfo", {}).get("Gpus")
        or found.get("NeuronInfo", {}).get("NeuronDevices")
        or found.get("InferenceAcceleratorInfo", {}).get("Accelerators")
    )
    if not devices:
        return node
    device = devices[0]
    if device.get("GpuPartitionSize", 1) < 1:
        return None
    memory = _gib(device["MemoryInfo"]["SizeInMiB"]) if "MemoryInfo" in device else None
    return InstanceType(
        node.name, node.cpus, node.memory, arch, _accelerator(device["Name"], memory), device["Count"], memory
    )


def _accelerator(name: str, memory: float | None) -> str:
    """The canonical name. EC2 calls an A100 with 80 GB `A100` too."""
    plain = name.replace(" ", "")
    known = canonical(_OTHER_NAMES.get(plain, plain))
    sizes = {one: size for family in MEMORY.values() for one, size in family.items() if one == known}
    sizes |= {one: size for one, size in MEMORY["nvidia"].items() if one.startswith(f"{known}-") and one.endswith("GB")}
    return min(sizes, key=lambda one: abs(sizes[one] - memory)) if sizes and memory is not None else known


def _gib(mib: int) -> float:
    gib = round(mib / 1024, 2)
    return int(gib) if gib.is_integer() else gib


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[key]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _NO_CREDENTIALS as error:
        raise UsageError(
            f"There are no credentials for AWS ({_line(error)}): run `aws configure`, or set AWS_PROFILE."
        ) from error
    except ClientError as error:
        answer = error.response["Error"]
        raise SkyflowError(
            f"AWS refused {error.operation_name}: {answer['Code']}: {answer.get('Message', '')}"
        ) from error
    except BotoCoreError as error:
        raise SkyflowError(f"AWS could not be read: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
