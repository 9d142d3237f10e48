"""The dataset artefact: one file that a colleague can train a policy from."""
