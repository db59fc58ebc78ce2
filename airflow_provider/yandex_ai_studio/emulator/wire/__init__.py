"""What may be sent to the service, and how its refusals look."""
