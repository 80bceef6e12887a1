"""Events: what their times order, and what is learnt from them."""
