"""Views of results: Rerun recordings, contact sheets with codes, and the motion under each code."""
