"""Shared parts of the commands: they read flags, find names, and answer."""
