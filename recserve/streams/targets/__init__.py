"""What sinks send to: topics of a Kafka cluster, or a URL."""
