"""How many pairs does it take?"""
