"""From YAML and key.sub=value to one checked `RunConfig`, and what it is called.

May import base and hgg."""
