"""Algorithms: pure state -> state functions that the host loop drives."""
