"""Keep, drop or wait: ``rules`` decides on facts alone, ``stage`` joins it to the recorder."""
