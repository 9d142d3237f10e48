"""Studies of datasets and methods, one folder for each question."""
