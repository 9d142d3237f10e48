"""Programs: parse flags, call hades, print where the result lies."""
