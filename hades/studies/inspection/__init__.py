"""What is in a dataset, and what is each pair worth?"""
