"""What a dataset or a method is worth, beside what else: one folder for each question."""
