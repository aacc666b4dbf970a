package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publish one command and wait for its outcome.
 *
 * <pre>
 * KAFKA_BOOTSTRAP_SERVERS=localhost:9094 java -jar target/client.jar \
 *     [--source NAME] [--timeout-s 30] ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]
 * </pre>
 *
 * JOURNEY reads kind:definition, such as lifecycle:shop. Prints the outcome as one line of JSON. Exit
 * codes: 0 an outcome came, 1 none came in time, 2 wrong usage.
 */
public final class Publish {
  private static final String COMMANDS = env("COMMANDS_TOPIC", "journeys.commands");
  private static final String OUTCOMES = env("OUTCOMES_TOPIC", "journeys.outcomes");
  private static final String SERVERS = env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9094");
  private static final ObjectMapper JSON = new ObjectMapper();

  /** {@code owner} is the record's key, {@code subject} the journey's address. */
  private record Command(
      String owner, String subject, String type, String id, String data, String source, Duration timeout) {}

  /** Leaves letters, digits and {@code -._~}, and percent-encodes the rest, unlike a form's encoding. */
  private static String encode(String segment) {
    return URLEncoder.encode(segment, StandardCharsets.UTF_8)
        .replace("+", "%20")
        .replace("*", "%2A")
        .replace("%7E", "~");
  }

  private static String env(String name, String otherwise) {
    return Optional.ofNullable(System.getenv(name)).orElse(otherwise);
  }

  private static Command read(String[] arguments) {
    ArrayDeque<String> left = new ArrayDeque<>(List.of(arguments));
    String source = "example-client";
    double timeoutS = 30;
    while (!left.isEmpty() && left.peek().startsWith("--")) {
      switch (left.pop()) {
        case "--source" -> source = left.pop();
        case "--timeout-s" -> timeoutS = Double.parseDouble(left.pop());
        default -> throw new IllegalArgumentException("unknown option");
      }
    }
    if (left.size() < 5 || left.size() > 6) {
      throw new IllegalArgumentException("wrong number of arguments");
    }
    String owner = encode(left.pop()) + "/c/" + encode(left.pop());
    String subject = owner + "/" + left.pop();
    Duration timeout = Duration.ofMillis((long) (timeoutS * 1000));
    return new Command(owner, subject, left.pop(), left.pop(), left.isEmpty() ? "{}" : left.pop(), source, timeout);
  }

  /** A consumer of every outcome written from this moment on. A service that runs for long joins a group instead. */
  private static KafkaConsumer<String, String> outcomesFromNow(Duration timeout) {
    KafkaConsumer<String, String> consumer =
        new KafkaConsumer<>(
            Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, SERVERS,
                ConsumerConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, (int) timeout.toMillis(),
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false),
            new StringDeserializer(),
            new StringDeserializer());
    List<TopicPartition> partitions =
        consumer.partitionsFor(OUTCOMES).stream().map(p -> new TopicPartition(OUTCOMES, p.partition())).toList();
    consumer.assign(partitions);
    consumer.endOffsets(partitions).forEach(consumer::seek);
    return consumer;
  }

  private static void publish(Command command) throws Exception {
    ProducerRecord<String, String> message = new ProducerRecord<>(COMMANDS, command.owner(), command.data());
    Map.of(
            "ce_specversion", "1.0",
            "ce_id", command.id(),
            "ce_source", command.source(),
            "ce_type", command.type(),
            "ce_subject", command.subject(),
            "content-type", "application/json")
        .forEach((name, value) -> message.headers().add(name, value.getBytes(StandardCharsets.UTF_8)));
    // The built-in partitioner of a record with a key is the one that names the lane: leave it as it is.
    try (var producer =
        new KafkaProducer<>(
            Map.<String, Object>of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, SERVERS,
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                ProducerConfig.MAX_BLOCK_MS_CONFIG, command.timeout().toMillis()),
            new StringSerializer(),
            new StringSerializer())) {
      producer.send(message).get(command.timeout().toMillis(), TimeUnit.MILLISECONDS);
    }
  }

  /** The outcome of (source, id), or nothing when it doesn't come in time. */
  private static Optional<String> waitForOutcome(
      KafkaConsumer<String, String> consumer, Command command, Instant until) throws Exception {
    while (Instant.now().isBefore(until)) {
      for (ConsumerRecord<String, String> message : consumer.poll(Duration.ofMillis(500))) {
        JsonNode outcome = JSON.readTree(message.value());
        if (outcome.path("source").asText().equals(command.source())
            && outcome.path("id").asText().equals(command.id())) {
          return Optional.of(message.value());
        }
      }
    }
    return Optional.empty();
  }

  public static void main(String[] arguments) throws Exception {
    Command command;
    try {
      command = read(arguments);
    } catch (RuntimeException wrong) {
      System.err.println("usage: client.jar [OPTIONS] ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]");
      System.exit(2);
      return;
    }
    Instant until = Instant.now().plus(command.timeout());
    Optional<String> outcome;
    try (KafkaConsumer<String, String> consumer = outcomesFromNow(command.timeout())) { // first: it may be quick
      publish(command);
      outcome = waitForOutcome(consumer, command, until);
    } catch (KafkaException | ExecutionException | TimeoutException failure) {
      System.err.printf(
          "no outcome of %s %s from %s: %s%n", command.source(), command.id(), SERVERS, failure.getMessage());
      System.exit(1);
      return;
    }
    if (outcome.isEmpty()) {
      System.err.printf("no outcome of %s %s within %s%n", command.source(), command.id(), command.timeout());
      System.exit(1);
    }
    System.out.println(outcome.get());
  }
}
