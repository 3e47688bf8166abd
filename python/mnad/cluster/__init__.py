"""Work on several machines, by Ray: connecting to a cluster, and a fleet of workers that share tasks."""
