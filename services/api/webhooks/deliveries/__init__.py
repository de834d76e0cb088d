"""Deliveries and their attempts over HTTP, and the jobs that make deliveries again."""
