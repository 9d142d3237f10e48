"""Where a run takes place: processes, clusters and clouds."""
