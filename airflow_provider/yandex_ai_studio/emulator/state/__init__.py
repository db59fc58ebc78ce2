"""What the emulator remembers. Time and chance come in from outside; nothing here knows HTTP."""
