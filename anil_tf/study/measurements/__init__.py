"""What experiments measure at frozen parameters, where no training run is needed: one runner per file."""
