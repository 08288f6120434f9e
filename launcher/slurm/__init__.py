"""A run as a Slurm job: its script, its submission, its place in the queue."""
