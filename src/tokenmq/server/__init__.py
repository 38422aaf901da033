"""Network edges: listeners, links, and the hub that owns the core."""
