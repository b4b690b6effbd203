"""A model behind an address: pictures come by HTTP, their people go back.

May import prediction, cluster, settings, base and hgg."""
