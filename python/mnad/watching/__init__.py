"""Live streams: frames come one by one, each stream has a memory of its own, and all are computed in one pass."""
