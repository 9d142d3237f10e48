"""The report of one run or of one dataset file."""
