"""Runs on other machines: commands that are shown before they act, and processes that are watched."""
