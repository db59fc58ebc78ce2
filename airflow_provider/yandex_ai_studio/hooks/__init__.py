"""The hook: what a connection says becomes a client, and each thing that the service can do a method. No task here."""
