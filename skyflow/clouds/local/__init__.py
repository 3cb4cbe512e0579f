"""The `local` cloud: nodes are processes of this host, reached over real SSH on loopback. Not a security boundary.

`cloud.py` is what the registry knows. It asks the *host* (`host.py`), one small process that makes and deletes nodes,
over a Unix socket. Each node is an SSH server (`server.py`) forked from it, with a home of its own; it outlives the
host and the worker. What a node is stands in its folder, so a new host adopts what it finds.
"""
