"""Policies trained from datasets, and their returns."""
