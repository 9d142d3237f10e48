"""How things are drawn: figures, scenes and pages, without any knowledge of runs and policies."""
