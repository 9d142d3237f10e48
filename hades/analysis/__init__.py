"""Analysis of environments, runs and datasets: numbers, no pictures."""
