"""The worker, and the embedded server."""
