"""EC2 and AWS's price list as far as a refresh reads them: paged, by region, in the wire format of botocore's model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.session

from tests.catalog.fake import Answer, Request, serve

PAGE = 2
_LISTS = {
    "DescribeRegions": "Regions",
    "DescribeAvailabilityZones": "AvailabilityZones",
    "DescribeInstanceTypes": "InstanceTypes",
    "DescribeInstanceTypeOfferings": "InstanceTypeOfferings",
    "DescribeSpotPriceHistory": "SpotPriceHistory",
}


@dataclass
class FakeAws:
    """What it has, in boto3's words, by region."""

    zones: dict[str, dict[str, str]] = field(default_factory=dict)
    """Region → zone's id → its name."""
    types: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Instance type → what DescribeInstanceTypes says of it."""
    offered: dict[str, list[str]] = field(default_factory=dict)
    """Instance type → zones' ids."""
    spot: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Instance type, zone's name, price, time."""
    prices: dict[tuple[str, str], str] = field(default_factory=dict)
    """Instance type and region → price."""
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """Operation and region → status and code."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Operation and region of every request."""

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Gives the URL for AWS_ENDPOINT_URL_EC2 and AWS_ENDPOINT_URL_PRICING."""
        with serve(self._answer) as url:
            yield url

    def _answer(self, request: Request) -> Answer:
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/(\w+)/aws4_request", request.headers["Authorization"])
        assert scope, request.headers
        region = scope[1]
        if scope[2] == "pricing":
            return self._products(request, region)
        arguments = {name: values[0] for name, values in parse_qs(request.body).items()}
        operation = arguments["Action"]
        self.asked.append((operation, region))
        if refusal := self.refusals.get((operation, region)):
            error = f"<Error><Code>{refusal[1]}</Code><Message>It is so.</Message></Error>"
            return refusal[0], "text/xml", f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
        shape = _model().operation_model(operation).output_shape
        found, token = self._found(operation, region, arguments), None
        if "NextToken" in shape.members:
            found, token = _page(found, arguments.get("NextToken"))
        answer = {_LISTS[operation]: found} | ({"NextToken": token} if token else {})
        return 200, "text/xml", f"<{operation}Response>{_xml(shape, answer)}</{operation}Response>"

    def _found(self, operation: str, region: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
        zones = self.zones.get(region, {})
        if operation == "DescribeRegions":
            return [{"RegionName": name, "Endpoint": f"ec2.{name}.amazonaws.com"} for name in self.zones]
        if operation == "DescribeAvailabilityZones":
            assert arguments["Filter.1.Name"] == "zone-type"
            return [{"RegionName": region, "ZoneName": name, "ZoneId": zone} for zone, name in zones.items()]
        if operation == "DescribeInstanceTypes":
            there = {name for name, ids in self.offered.items() if set(ids) & set(zones)}
            return [{"InstanceType": name, **self.types[name]} for name in self.types if name in there]
        if operation == "DescribeInstanceTypeOfferings":
            assert arguments["LocationType"] == "availability-zone-id"
            local = f"{region}-bos1-az1"
            return [
                {"InstanceType": name, "LocationType": "availability-zone-id", "Location": zone}
                for name, ids in self.offered.items()
                for zone in [*(zone for zone in ids if zone in zones), local]
            ]
        assert (operation, arguments["ProductDescription.1"]) == ("DescribeSpotPriceHistory", "Linux/UNIX")
        assert arguments["StartTime"]
        return [
            {"InstanceType": name, "AvailabilityZone": zone, "SpotPrice": price, "Timestamp": time}
            for name, zone, price, time in self.spot
            if zone in zones.values()
        ]

    def _products(self, request: Request, region: str) -> Answer:
        assert region == "us-east-1", "the price list is in few regions"
        question = json.loads(request.body)
        wanted = {one["Field"]: one["Value"] for one in question["Filters"]}
        self.asked.append(("GetProducts", wanted["regionCode"]))
        if refusal := self.refusals.get(("GetProducts", wanted["regionCode"])):
            return refusal[0], "application/x-amz-json-1.1", json.dumps({"__type": refusal[1], "message": "It is so."})
        assert (wanted["operatingSystem"], wanted["tenancy"], wanted["preInstalledSw"]) == ("Linux", "Shared", "NA")
        found = [_product(*key, price) for key, price in self.prices.items() if key[1] == wanted["regionCode"]]
        products, token = _page(found, question.get("NextToken"))
        answer = {"FormatVersion": "aws_v1", "PriceList": products} | ({"NextToken": token} if token else {})
        return 200, "application/x-amz-json-1.1", json.dumps(answer)


def _product(name: str, region: str, price: str) -> str:
    """As the price list has it: JSON in a string."""
    dimension = {
        "unit": "Hrs",
        "endRange": "Inf",
        "description": f"${price} per On Demand Linux {name} Instance Hour",
        "appliesTo": [],
        "rateCode": "AAA.JRTCKXETXF.6YS6EN2CT7",
        "beginRange": "0",
        "pricePerUnit": {"USD": price},
    }
    term = {"priceDimensions": {"AAA.JRTCKXETXF.6YS6EN2CT7": dimension}, "sku": "AAA", "termAttributes": {}}
    attributes = {"instanceType": name, "regionCode": region, "operatingSystem": "Linux", "tenancy": "Shared"}
    product = {"productFamily": "Compute Instance", "attributes": attributes, "sku": "AAA"}
    return json.dumps({"product": product, "serviceCode": "AmazonEC2", "terms": {"OnDemand": {"AAA.JRTCKXETXF": term}}})


def _page(found: list[Any], token: str | None) -> tuple[list[Any], str | None]:
    start = int(token or 0)
    return found[start : start + PAGE], str(start + PAGE) if len(found) > start + PAGE else None


@cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("ec2")


def _xml(shape: Any, value: Any) -> str:
    """A value in EC2's XML, by the names that the model gives."""
    if shape.type_name == "structure":
        parts = []
        for name, one in value.items():
            member = shape.members[name]
            tag = member.serialization.get("name", name)
            parts.append(f"<{tag}>{_xml(member, one)}</{tag}>")
        return "".join(parts)
    if shape.type_name == "list":
        return "".join(f"<item>{_xml(shape.member, one)}</item>" for one in value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))
