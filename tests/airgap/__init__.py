"""`make airgap`: a bundle with a wheelhouse, installed and trained where there is no network at all."""
