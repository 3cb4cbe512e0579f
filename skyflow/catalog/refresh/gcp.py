"""Google's own figures: its price list, and which machines and GPUs each zone has. Only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import google.auth
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import compute_v1
from requests import RequestException
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from skyflow.catalog.library import load
from skyflow.catalog.order import natural
from skyflow.catalog.refresh.sku import Machine, Rates
from skyflow.catalog.table import Attachment, Catalog, InstanceType, Listing
from skyflow.errors import SkyflowError, UsageError
from skyflow.models.accelerator import MEMORY, canonical, is_tpu

if TYPE_CHECKING:
    from skyflow.catalog.refresh import Progress

ENDPOINT = "SKYFLOW_GCP_ENDPOINT"
"""Environment variable: a URL that answers instead of Google, without credentials. For tests."""
PROJECT = "GOOGLE_CLOUD_PROJECT"

BILLING = "https://cloudbilling.googleapis.com"
COMPUTE_ENGINE = "6F81-5844-456A"
"""The id of Compute Engine in the price list."""
PAGE = 5000
PAGE_OF_MACHINES = 500
"""The most that each list gives at once."""
SSD_GIB = 375
"""A partition of local SSD."""

_ZONE = re.compile(r"zones/(?P<zone>(?P<region>[a-z]+-[a-z]+[0-9]+)-[a-z])")
"""Zones that everybody may use; others (`us-south1-ai1b`) have longer names."""
_NOT_PRICED = ("f1-", "g1-", "m2-", "z3-")
"""Families whose price is no sum of the parts that the price list names."""
_HOSTS = "n1-"
_LIMITS: dict[str, dict[int, tuple[float, float]]] = {
    "K80": {1: (8, 52), 2: (16, 104), 4: (32, 208), 8: (64, 208)},
    "P100": {1: (16, 104), 2: (32, 208), 4: (96, 624)},
    "P4": {1: (24, 156), 2: (48, 312), 4: (96, 624)},
    "T4": {1: (48, 312), 2: (48, 312), 4: (96, 624)},
    "V100": {1: (12, 78), 2: (24, 156), 4: (48, 312), 8: (96, 624)},
}
"""GPUs that can be added to n1 machines: how many → how many CPUs and GiB such a machine has at most.
https://cloud.google.com/compute/docs/gpus#n1-gpus"""
_ZONE_LIMITS = {
    ("P100", 4, zone): (64.0, 208.0) for zone in ("us-east1-c", "europe-west1-b", "europe-west1-d")
}  # fmt: skip
"""Zones that have lower ones."""
_SIZES = {name: size for family in MEMORY.values() for name, size in family.items()}


@dataclass
class _Kind:
    """An instance type and where it is."""

    machine: Machine
    arch: str
    zones: dict[str, list[str]] = field(default_factory=dict)
    """By region."""


def fetch(env: Mapping[str, str], progress: Progress) -> Catalog:
    """See refresh. Reads the application default credentials, and `ENDPOINT` and `PROJECT` of the environment."""
    with _errors():
        endpoint = env.get(ENDPOINT)
        credentials, project = _access(env, anonymous=endpoint is not None)
        options = ClientOptions(api_endpoint=endpoint)
        progress("price list of Google", 0, 3)
        rates = Rates(_skus(credentials, endpoint or BILLING))
        progress("machine types of Google", 1, 3)
        machine_types = compute_v1.MachineTypesClient(credentials=credentials, client_options=options)
        kinds = _kinds(machine_types.aggregated_list(_everywhere(project)))
        progress("GPUs of Google", 2, 3)
        accelerator_types = compute_v1.AcceleratorTypesClient(credentials=credentials, client_options=options)
        gpus = _gpus(accelerator_types.aggregated_list(_everywhere(project)))
        progress("GPUs of Google", 3, 3)
    packaged = load("gcp")
    slices = [listing for listing in packaged.listings if is_tpu(listing.type.accelerator or "")]
    return Catalog(
        cloud="gcp",
        listings=[*_listings(kinds, rates), *slices],
        attachments=tuple(_attachments(gpus, rates)),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        source="Google's Cloud Billing and Compute Engine APIs",
        notes=(
            "Spot prices are indicative only: Google changes them every month.",
            f"TPUs and their prices are those that came with skyflow ({packaged.date}).",
        ),
    )


def _access(env: Mapping[str, str], *, anonymous: bool) -> tuple[Credentials, str]:
    credentials: Credentials
    if anonymous:
        credentials, project = AnonymousCredentials(), None  # type: ignore[no-untyped-call]
    else:
        credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    project = env.get(PROJECT) or project
    if not project:
        raise UsageError(f"Google wants to know the project: set {PROJECT}, or run `gcloud config set project …`.")
    return credentials, project


def _skus(credentials: Credentials, endpoint: str) -> Iterator[Mapping[str, Any]]:
    """The whole price list of Compute Engine."""
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        retry = Retry(4, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        token = ""
        while True:
            parameters = {"pageSize": str(PAGE), "currencyCode": "USD"} | ({"pageToken": token} if token else {})
            answer = session.get(f"{endpoint}/v1/services/{COMPUTE_ENGINE}/skus", params=parameters, timeout=60)
            if not answer.ok:
                raise SkyflowError(f"Google refused its price list ({answer.status_code}): {_reason(answer)}")
            page = answer.json()
            yield from page.get("skus", ())
            token = page.get("nextPageToken", "")
            if not token:
                return


def _reason(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)


def _everywhere(project: str) -> dict[str, Any]:
    return {"project": project, "max_results": PAGE_OF_MACHINES}


def _kinds(scopes: Any) -> dict[str, _Kind]:
    """Instance types by name."""
    kinds: dict[str, _Kind] = {}
    for scope, found in scopes:
        place = _ZONE.fullmatch(scope)
        for one in found.machine_types if place else ():
            if one.name not in kinds and (kind := _kind(one)) is not None:
                kinds[one.name] = kind
            if one.name in kinds and place:
                kinds[one.name].zones.setdefault(place["region"], []).append(place["zone"])
    return kinds


def _kind(one: compute_v1.MachineType) -> _Kind | None:
    """An instance type; None if its price cannot be computed, or no task can use it."""
    gpus = [(gpu.guest_accelerator_type, gpu.guest_accelerator_count) for gpu in one.accelerators]
    is_other = any(not name.startswith("nvidia-") for name, _ in gpus)  # TPUs go by another interface
    if one.is_shared_cpu or one.deprecated.state or one.name.startswith(_NOT_PRICED) or is_other or "metal" in one.name:
        return None
    machine = Machine(
        name=one.name,
        cpus=one.guest_cpus,
        memory=_tidy(one.memory_mb / 1024),
        accelerator=canonical(gpus[0][0]) if gpus else None,
        count=gpus[0][1] if gpus else 0,
        local_ssd=one.bundled_local_ssds.partition_count * SSD_GIB,
    )
    return _Kind(machine, "arm64" if one.architecture == "ARM64" else "x86_64")


def _gpus(scopes: Any) -> dict[str, dict[str, list[str]]]:
    """GPUs that can be added to machines: canonical name → region → zones."""
    gpus: dict[str, dict[str, list[str]]] = {}
    for scope, found in scopes:
        place = _ZONE.fullmatch(scope)
        for one in found.accelerator_types if place else ():
            if place and not one.deprecated.state and (name := canonical(one.name)) in _LIMITS:
                gpus.setdefault(name, {}).setdefault(place["region"], []).append(place["zone"])
    return gpus


def _listings(kinds: Mapping[str, _Kind], rates: Rates) -> Iterator[Listing]:
    for name in sorted(kinds, key=natural):
        machine = kinds[name].machine
        memory = _SIZES.get(machine.accelerator or "")
        node = InstanceType(
            name, machine.cpus, machine.memory, kinds[name].arch, machine.accelerator, machine.count, memory
        )
        for region, zones in sorted(kinds[name].zones.items()):
            price = rates.machine(machine, region, spot=False)
            spot_price = rates.machine(machine, region, spot=True)
            if price is not None or spot_price is not None:
                yield Listing(node, region, tuple(sorted(zones)), price, spot_price)


def _attachments(gpus: Mapping[str, Mapping[str, list[str]]], rates: Rates) -> Iterator[Attachment]:
    for name in sorted(gpus):
        for count, usual in _LIMITS[name].items():
            for region, zones in sorted(gpus[name].items()):
                by_limits: dict[tuple[float, float], list[str]] = {}
                for zone in sorted(zones):
                    by_limits.setdefault(_ZONE_LIMITS.get((name, count, zone), usual), []).append(zone)
                price = _times(count, rates.gpu(name, region, spot=False))
                spot_price = _times(count, rates.gpu(name, region, spot=True))
                for limits, names in by_limits.items() if (price, spot_price) != (None, None) else ():
                    kind = (name, count, _SIZES[name], _HOSTS, *limits)
                    yield Attachment(*kind, region, tuple(names), price, spot_price)


def _times(count: int, price: float | None) -> float | None:
    return None if price is None else round(count * price, 6)


def _tidy(number: float) -> float:
    return int(number) if float(number).is_integer() else round(number, 3)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (DefaultCredentialsError, RefreshError) as error:
        reason = _line(error).split(". ")[0]  # what comes behind is a manual
        raise UsageError(
            f"There are no credentials for Google ({reason}): run `gcloud auth application-default login`."
        ) from error
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise SkyflowError(f"Google could not be read: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
