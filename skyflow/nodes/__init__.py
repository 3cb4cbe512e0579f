"""Nodes: the SSH connections to them, the job runner on them, and what is brought onto them."""
