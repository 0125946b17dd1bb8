"""The page of the browser test's app: `?runs=` names the runs to show, `?fail` lets the page fail."""

import streamlit as st

from metalab.ui.live import LiveRun, live_panel

ALGORITHMS = {"sine-maml": ("maml", 2), "sine-reptile": ("reptile", 2), "short": ("maml", 2), "letters": ("maml", 1)}

st.set_page_config(layout="wide")
st.session_state["reruns"] = st.session_state.get("reruns", 0) + 1
st.title("Train")
if "fail" in st.query_params:
    raise RuntimeError("the password is swordfish")
names = st.query_params.get("runs", "sine-maml").split(",")
runs = [LiveRun(name, name, *ALGORITHMS.get(name, ("maml", 2))) for name in names]
command = live_panel(runs, key="live", loss_label="mean squared error")
if command is not None:
    st.obey(command.run_id, command.name)
st.text(f"script runs: {st.session_state['reruns']}")
