"""Rate limits: how much a workspace, a key and an address may ask for in a minute."""
