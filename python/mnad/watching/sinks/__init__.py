"""Who is told of events and of the health of cameras: standard output, MQTT, webhooks, Prometheus."""
