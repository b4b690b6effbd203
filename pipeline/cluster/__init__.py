"""Ray itself: a cluster for a job, or of this project's own, and jobs sent to it.

May import settings and base."""
