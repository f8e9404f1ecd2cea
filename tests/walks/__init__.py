"""The route of one event through the server on the Python engine: its functions and their files.

python -m tests.walks           # every walk, as text
python -m tests.walks --json
"""
