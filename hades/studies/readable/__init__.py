"""What return does it cost to have the pairs among states that policies really visit?"""
