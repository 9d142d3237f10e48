"""Memory, steps and seconds of a run, before and while it goes on."""
