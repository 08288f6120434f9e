"""The storm: one real job on the private cluster under a seeded schedule of faults; its weights must not change."""
