"""Runs on Cloud TPU VMs through gcloud."""
