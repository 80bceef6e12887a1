"""`recserve serve` on one machine: environment, ports, supervisor and control."""
