"""MLflow itself: its store, a run for each job, registered models. Nothing else talks to it.

May import settings, base and hgg."""
