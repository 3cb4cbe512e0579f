"""The base of everything that travels through Temporal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A message. Unknown fields are ignored, so that an older worker can read what a newer client sends."""

    model_config = ConfigDict(extra="ignore")
