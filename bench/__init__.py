"""Benchmarks. Each prints a ratio against a limit or a peer that is measured in the same run."""
