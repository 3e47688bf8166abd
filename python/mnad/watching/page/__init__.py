"""The page of ``mnad watch``: every stream live, its events, and what can be changed while it is watched."""
