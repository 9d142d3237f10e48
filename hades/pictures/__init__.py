"""Figures, scenes and pages, without any knowledge of runs and policies."""
