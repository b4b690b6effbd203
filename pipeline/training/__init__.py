"""From batches to a model: the loop, checkpoints, ranks. Ray in `on_ray` alone.

May import evaluation, batches, data, cluster, tracking, settings, base and hgg."""
