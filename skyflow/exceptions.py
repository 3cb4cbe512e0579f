"""The errors by the name of the module that SkyPilot's users know: `from skyflow import exceptions`."""

from skyflow.errors import *  # noqa: F403  the same names
from skyflow.errors import InvalidTaskError as InvalidSkyPilotConfigError

__all__ = ["InvalidSkyPilotConfigError"]
