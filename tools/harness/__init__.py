"""A real Airflow on one machine, with its database and the emulator: processes that start, stop and die together."""
