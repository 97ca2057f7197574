"""Speed, side by side with what else one could run: `python -m benchmarks`."""
