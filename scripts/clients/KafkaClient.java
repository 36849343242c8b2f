import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Scanner;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The same as kafka_client.py, with the client of Apache Kafka.
 *
 *   java -cp KAFKA scripts/clients/KafkaClient.java BROKERS TOPIC TOPIC...      KAFKA: the jars of Apache Kafka
 */
class KafkaClient {
    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        var sending = new Thread(() -> sendOrEnd(brokers, arguments[1]));
        sending.setDaemon(true);
        sending.start();
        var json = new ObjectMapper();
        Map<String, Object> settings =
            Map.of("bootstrap.servers", brokers, "group.id", "client-java", "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(Arrays.asList(arguments).subList(2, arguments.length));
            while (true) {
                for (var message : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(json.writeValueAsString(fields(message)));
                }
            }
        }
    }

    private static void sendOrEnd(String brokers, String topic) {
        try {
            send(brokers, topic);
        } catch (Exception error) {
            error.printStackTrace();
            // An exception would end this thread only.
            Runtime.getRuntime().halt(1);
        }
    }

    private static void send(String brokers, String topic) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            var lines = new Scanner(System.in, StandardCharsets.UTF_8);
            while (lines.hasNextLine()) {
                String[] message = lines.nextLine().split("\t");
                producer.send(new ProducerRecord<>(topic, message[0], message[1])).get(60, TimeUnit.SECONDS);
            }
        }
    }

    private static Map<String, Object> fields(ConsumerRecord<String, String> message) {
        Map<String, String> headers = new TreeMap<>();
        for (Header header : message.headers()) {
            headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
        }
        String key = message.key() == null ? "" : message.key();
        return Map.of("topic", message.topic(), "key", key, "headers", headers, "value", message.value());
    }
}
