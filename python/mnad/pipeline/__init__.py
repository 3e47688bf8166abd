"""From files to files: score, calibrate and evaluate a run, made of the rooms that compute."""
