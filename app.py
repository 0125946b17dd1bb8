"""The launcher: `python -m streamlit run app.py`."""

import streamlit as st

from metalab.ui import server

app = st.App(
    server.MAIN_SCRIPT,
    routes=server.routes(),
    middleware=server.middleware(),
    lifespan=server.lifespan,
    on_script_error=server.on_script_error,
)
