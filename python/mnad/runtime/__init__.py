"""What everything stands on: errors, devices, progress and logs, files that are whole, where a result comes from."""
