"""Pictures for people: datasets, states, episodes, curves and one HTML report. No numbers of its own."""
