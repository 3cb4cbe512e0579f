"""What a task reads from elsewhere and leaves elsewhere, and how much: for the price of the traffic (PARITY §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skyflow.models.document import Document, Path
from skyflow.models.shape import error, mapping, number, spell


@dataclass(frozen=True)
class Transfer:
    """Data at a URI.

    Args:
        uri: of a bucket, or of the outside world.
        gigabytes: about how much it is, in units of 2**30 bytes, as clouds count traffic.
    """

    uri: str
    gigabytes: float

    def to_yaml_config(self) -> dict[str, float]:
        """The value of `inputs` or `outputs` that means the same."""
        return {self.uri: self.gigabytes}


def check_transfer(document: Document, value: object, path: Path) -> Transfer | None:
    """The `inputs` or `outputs` of a task: `{uri: gigabytes}`, one at most."""
    if isinstance(value, Mapping) and len(value) > 1:
        raise error(document, path, f"{spell(path)} has {len(value)} entries; 1 at most.")
    found = mapping(number(), "a mapping of a URI to its size in GB")(document, value, path)
    return next((Transfer(uri, size) for uri, size in found.items()), None)
