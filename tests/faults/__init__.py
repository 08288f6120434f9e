"""Breaking a run on the private cluster on purpose: what `tests.proof` and `tests.storm` share."""
