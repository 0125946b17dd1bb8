"""A class without browsers: tabs that speak Streamlit's protocol, followers of event streams, and what they do."""
