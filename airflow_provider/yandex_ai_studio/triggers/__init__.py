"""What waits in the triggerer. It says that an operation ended, never what the model wrote; nothing here may block."""
