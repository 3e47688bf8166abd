"""Networks as graphs, which other runtimes than PyTorch execute."""
