"""Drawings of environments: frames, bodies, animations and the interactive viewer."""
