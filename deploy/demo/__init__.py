"""The demo: a simulated year of a sales team, recorded through the same services that serve the API."""
