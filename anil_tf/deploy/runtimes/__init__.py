"""What runs an export in Python, one module per format; `anil_tf.deploy.exported` chooses."""
