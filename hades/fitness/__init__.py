"""Fitness: how good a cloned policy is, maximised."""
