"""Meta-training: a config goes in, events come out."""
