// Performs the effects of one type by calling an HTTP service, and tells the journeys how each ended.
//
//   KAFKA_BOOTSTRAP_SERVERS=localhost:9094 LOFT_URL=https://loft.example.com/pigeons node worker.js
import { Kafka, Partitioners, logLevel } from "kafkajs";

type Request = {
  stream: string; effect: string; attempt: number; type: string; params: object;
  timeout_ms: number; idempotency_key: string;
};
type Ending = { result: object } | { error: string; retryable: boolean; retry_after_ms?: number };

const { EFFECTS_TOPIC = "journeys.effects", COMMANDS_TOPIC = "journeys.commands", LOFT_URL = "" } = process.env;
const TYPE = "send_pigeon"; // requests of other types are other workers'
const brokers = (process.env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9094").split(",");
const kafka = new Kafka({ clientId: TYPE, brokers, logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner }); // murmur2 of the key
const consumer = kafka.consumer({ groupId: process.env.GROUP_ID ?? `worker-${TYPE}` }); // reads what is committed only

async function perform(request: Request): Promise<Ending> {
  try { // the key is the same for every attempt: the service does it once, however often it is asked
    const headers = { "content-type": "application/json", "idempotency-key": request.idempotency_key };
    const body = JSON.stringify(request.params);
    const signal = AbortSignal.timeout(request.timeout_ms);
    const answer = await fetch(LOFT_URL, { method: "POST", headers, body, signal });
    if (answer.ok) return { result: { status: answer.status } };
    return { error: `status_${answer.status}`, retryable: answer.status === 429 || answer.status >= 500 };
  } catch (error) {
    return { error: (error as Error).name === "TimeoutError" ? "timeout" : "connect_failed", retryable: true };
  }
}

async function tell({ stream, effect, attempt }: Request, ending: Ending): Promise<void> {
  const headers = {
    ce_specversion: "1.0", ce_source: "engine/effects", ce_id: `${stream}/${effect}/${attempt}`, ce_subject: stream,
    ce_type: "error" in ending ? "effect.failed" : "effect.succeeded", "content-type": "application/json",
  };
  const key = stream.slice(0, stream.lastIndexOf("/")); // the owner
  const value = JSON.stringify({ effect, attempt, ...ending });
  await producer.send({ topic: COMMANDS_TOPIC, acks: -1, messages: [{ key, headers, value }] });
}

await producer.connect();
await consumer.connect();
await consumer.subscribe({ topic: EFFECTS_TOPIC, fromBeginning: true });
await consumer.run({ // an offset is committed once its effect is told: a crash repeats the call, with the same key
  eachMessage: async ({ message }) => {
    const request = JSON.parse(message.value!.toString()) as Request;
    if (request.type === TYPE) await tell(request, await perform(request));
  },
});
process.once("SIGTERM", () => consumer.disconnect().then(() => producer.disconnect()));
