"""Many runs from one command. Empty until sweeps land; a multirun is refused by the launcher meanwhile."""
