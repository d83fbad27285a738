"""Training, export, evaluation and benchmarks; run as `python -m tools.NAME`."""
