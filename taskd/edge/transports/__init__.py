"""Ways in: each file listens in one way and gives links with the facts of the peer, nothing else."""
