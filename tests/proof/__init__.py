"""The proof of exact resume: a matrix of interrupted runs on the private cluster, weights compared bit by bit."""
