"""MetaLab: an interactive laboratory in which a class sees machines learn to learn."""
