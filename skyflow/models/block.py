"""What may not be used: resources that rule out places and kinds of nodes, in `blocked_resources`."""

from __future__ import annotations

from skyflow.errors import InvalidTaskError
from skyflow.models.resources import Resources

FIELDS = ("infra", "instance_type", "accelerators", "use_spot")


def check_block(resources: Resources) -> Resources:
    """Resources that say something, and nothing that an offer does not tell. Otherwise InvalidTaskError."""
    given = resources.to_yaml_config()
    if strange := [field for field in given if field not in FIELDS]:
        raise InvalidTaskError(
            f"blocked_resources: {', '.join(strange)} cannot be blocked, only {', '.join(FIELDS)} can."
        )
    if not given:
        raise InvalidTaskError(f"blocked_resources: an entry without any of {', '.join(FIELDS)} blocks everything.")
    return resources
