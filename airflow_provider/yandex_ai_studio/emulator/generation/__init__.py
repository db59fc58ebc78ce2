"""What stands in for the model: deterministic in the request alone, and no intelligence at all."""
