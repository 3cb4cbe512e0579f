"""Offers by zone with their prices, as data in the package, read without any cloud's library."""

from skyflow.catalog.library import CLOUDS, load

__all__ = ["CLOUDS", "load"]
