"""Convert, score, calibrate and evaluate a run: each reads files, calls the packages that compute, and writes files."""
