"""The host's side: loop, checkpoints, writers, gin, evaluation of finished datasets."""
