"""The store: bulk bytes in a folder or a bucket. Snapshots, logs, keys."""
