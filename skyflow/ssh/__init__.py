"""What OpenSSH's own programs need to reach nodes: files of ours, and one line in the user's `~/.ssh/config`."""
