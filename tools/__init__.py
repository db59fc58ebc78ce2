"""
What runs the product for real, on one machine.

::

    harness/    a real Airflow, PostgreSQL and the emulator as processes, for the others and for the system tests
    demo.py     the main job, as a newcomer sees it: make demo, make up
    matrix.py   the tests on each Airflow and each Python: make test-matrix
    chaos/      kill and break everything while tasks generate, and account for every operation: make test-chaos
"""
