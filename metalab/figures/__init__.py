"""A result of analysis -> a plotly figure."""
