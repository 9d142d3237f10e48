"""Outer optimisers: evolution strategies on flat genomes."""
