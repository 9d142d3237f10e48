"""How a dataset becomes an acting policy, and what that policy earns."""
