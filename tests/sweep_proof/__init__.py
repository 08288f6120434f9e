"""A grid under preemption: each trial ends with the very weights that it has alone. `make sweep-proof` runs 12."""
