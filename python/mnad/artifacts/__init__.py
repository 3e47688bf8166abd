"""The files that a run leaves: checkpoint, measurements, maps, curves, exported weights. Written whole, read safely."""
