"""From photographs to people, and a photograph's grouping explained.

May import evaluation, data, metrics, base and hgg."""
