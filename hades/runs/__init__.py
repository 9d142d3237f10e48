"""How one run starts, goes on, stops and resumes."""
