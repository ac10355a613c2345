"""Programs that are copied into an export as `client.py`: its runtime, NumPy, and nothing of ours."""
