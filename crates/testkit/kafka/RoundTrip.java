// How long a record takes from a producer through the broker to a consumer, with nothing of ours in between.
//
// Usage: java -cp 'libs/*' RoundTrip.java HOST:PORT TOPIC RATE WARM_UP_SECONDS SECONDS
// Prints p50 and p99 in microseconds. The topic is created, with one partition.

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class RoundTrip {
    public static void main(String[] args) throws Exception {
        String broker = args[0], topic = args[1];
        int rate = Integer.parseInt(args[2]);
        int warmUp = rate * Integer.parseInt(args[3]), count = warmUp + rate * Integer.parseInt(args[4]);
        Map<String, Object> at = Map.of("bootstrap.servers", broker);
        try (Admin admin = Admin.create(at)) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        }
        long[] sent = new long[count], took = new long[count];
        var consumer = new KafkaConsumer<>(
            Map.of("bootstrap.servers", broker, "fetch.min.bytes", 1),
            new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(List.of(new TopicPartition(topic, 0)));
        consumer.seekToBeginning(consumer.assignment());
        consumer.poll(Duration.ofMillis(100));
        Thread reader = new Thread(() -> {
            for (int seen = 0; seen < count;) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    took[seen] = System.nanoTime() - sent[seen];
                    seen++;
                }
            }
        });
        reader.start();
        var producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", broker, "acks", "all", "linger.ms", 0),
            new ByteArraySerializer(), new ByteArraySerializer());
        byte[] payload = new byte[1024];
        long began = System.nanoTime();
        for (int n = 0; n < count; n++) {
            long due = began + n * 1_000_000_000L / rate;
            while (System.nanoTime() < due) {
                LockSupport.parkNanos(due - System.nanoTime());
            }
            sent[n] = due;
            producer.send(new ProducerRecord<>(topic, payload));
        }
        reader.join();
        producer.close();
        consumer.close();
        long[] counted = Arrays.copyOfRange(took, warmUp, count);
        Arrays.sort(counted);
        System.out.println(counted[counted.length / 2] / 1000 + " " + counted[counted.length * 99 / 100] / 1000);
    }
}
