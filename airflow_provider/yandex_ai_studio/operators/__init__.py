"""What a DAG submits with: :mod:`.base` is what all operators do alike, each module beside it one API."""
