"""Several processes that carry the traffic of one gateway: who starts them, and what they tell each other."""
