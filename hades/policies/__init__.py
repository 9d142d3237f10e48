"""Policies: networks with an action distribution."""
