"""A data set looked at before it is trained on: counts, pictures with their labels, doubtful ones.

May import settings, data, base and hgg."""
