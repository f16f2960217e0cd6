"""The folder that stands on PYTHONPATH below `turntrace run`."""
