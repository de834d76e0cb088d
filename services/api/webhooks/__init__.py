"""Webhooks: endpoints, their secrets, what was sent to them and what is sent again."""
