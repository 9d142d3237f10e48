"""One run: its start, its loop, its stop and its continuation."""
