"""From a model and records to people and their figures. Ray in `on_ray` alone.

May import data, metrics, cluster, tracking, settings, base and hgg."""
