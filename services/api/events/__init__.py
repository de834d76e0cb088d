"""The feed of events and its live stream."""
