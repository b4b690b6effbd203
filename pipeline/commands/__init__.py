"""What each job does around the work: what is checked first, the MLflow run, `results.json`.

May import every room but studies, and hgg."""
