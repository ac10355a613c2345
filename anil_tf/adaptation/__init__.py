"""Adaptation: the inner loop and its derivatives, as pure functions on tensors."""
