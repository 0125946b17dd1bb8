"""Canvases a class works on: points of a function (points), hand-drawn characters (characters).

`strokes` checks and rasterises drawings and needs neither a browser nor streamlit.
"""
