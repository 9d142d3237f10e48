"""Machines that a run takes place on: processes, clusters and clouds."""
