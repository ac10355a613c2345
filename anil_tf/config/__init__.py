"""What a run is: frozen values that every command shares. Nothing here loads TensorFlow."""
