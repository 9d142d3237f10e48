"""The return that it costs to have the pairs among states that policies really visit."""
