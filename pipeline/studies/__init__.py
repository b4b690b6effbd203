"""Many trainings, compared: the paper's tables, and searches.

May import commands, training, data, cluster, tracking, settings, base and hgg."""
