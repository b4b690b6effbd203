"""What every room stands on: errors, files that are whole or absent, seeds, provenance.

Imports nothing of this project."""
