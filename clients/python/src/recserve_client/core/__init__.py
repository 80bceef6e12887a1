"""What both clients share: calls, answers, errors and when a call is sent again."""
