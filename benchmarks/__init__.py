"""What waiting costs: this package against its peers, and in a real Airflow. Run with ``python -m benchmarks``."""
