"""What SkyPilot has and this version has not, by the names that its users write, each with what is missing."""

from __future__ import annotations

from skyflow.errors import NotSupportedError

OPTIONS = {
    "clone_disk_from": "a copy of another cluster's disk",
    "resize": "a cluster that changes its number of nodes (take it down, and launch it again)",
    "workspace": "workspaces",
    "backend": "another backend",
    "handle": "a handle instead of the name of a cluster",
    "detach_setup": "a launch that is over before setup",
    "all_users": "a list of one user's only",
    "output_stream": "another stream than the standard output",
}
"""Arguments of functions; flags of commands, without their dashes."""

_NEEDS = {
    "managed jobs": "jobs spot spot_launch ManagedJobStatus JOBS_RECOVERY_STRATEGY_REGISTRY",
    "services and pools": "serve",
    "batch processing": "batch",
    "buckets": "storage_ls storage_delete FileMountType",
    "volumes": "volumes",
    "accelerators as a table of Python's (skyflow gpus list prints them)": "list_accelerators",
    "a check of clouds from Python (skyflow check does it)": "check CLOUD_REGISTRY",
    "copies of logs from Python (skyflow logs --sync-down makes them)": "download_logs",
    "an API server; Temporal is the server here": "api_status api_cancel api_info api_login api_logout api_start "
    "api_stop api_server_logs create_debug_dump download_debug_dump",
    "workspaces": "get_user_workspace set_preferred_workspace",
    "policies of admins": "AdminPolicy AdminPolicyRequestName UserRequest MutatedUserRequest Config",
    "its class (sky.optimize does it)": "Optimizer",
    "backends": "backends",
    "settings that are read anew (every call reads them)": "reload_config skypilot_config",
}

NAMES = {name: what for what, names in _NEEDS.items() for name in names.split()}
"""Public names of SkyPilot's package → what they need that is not there yet."""


def not_yet(option: str, spelled: str) -> NotSupportedError:
    """The error for an argument or flag of which only the name is known."""
    return NotSupportedError(f"{spelled}: {OPTIONS[option]} is not supported by this version of skyflow yet.")
