"""From photographs and annotations to records to samples, in Parquet. Ray in `on_ray` alone.

May import cluster, settings, base and hgg."""
