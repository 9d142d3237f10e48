"""Observation normalisers: what the coordinates of a dataset mean."""
