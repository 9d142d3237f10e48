"""Environments: what a policy acts in. One adapter file per library, each imported lazily."""
