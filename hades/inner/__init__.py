"""Inner learners: from a genome to a policy."""
