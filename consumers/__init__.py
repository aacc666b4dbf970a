"""What reads Kafka: the commands of a lane, and the effects journeys ask for."""
