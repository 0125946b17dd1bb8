"""What a person takes home from a run: a plain PyTorch script that does the same, and a report that opens offline."""
