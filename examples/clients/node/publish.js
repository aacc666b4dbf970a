// Publish one command and wait for its outcome, with KafkaJS.
//
//   KAFKA_BOOTSTRAP_SERVERS=localhost:9094 node publish.js [--source NAME] [--timeout-s 30] \
//       ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]
//
// JOURNEY reads kind:definition, such as lifecycle:shop. Prints the outcome as one line of JSON.
// Exit codes: 0 an outcome came, 1 none came in time, 2 wrong usage.
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const COMMANDS = process.env.COMMANDS_TOPIC ?? "journeys.commands";
const OUTCOMES = process.env.OUTCOMES_TOPIC ?? "journeys.outcomes";
const SERVERS = (process.env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9094").split(",");

function readCommand() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      source: { type: "string", default: "example-client" },
      "timeout-s": { type: "string", default: "30" },
    },
  });
  const [organization, customer, journey, type, id, data = "{}"] = positionals;
  if (!id) throw new TypeError("usage: node publish.js [OPTIONS] ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]");
  const owner = `${encode(organization)}/c/${encode(customer)}`; // the record's key
  const timeoutMs = Number(values["timeout-s"]) * 1000;
  return { owner, subject: `${owner}/${journey}`, type, id, data: JSON.parse(data), source: values.source, timeoutMs };
}

// All but letters, digits and `-._~` is percent-encoded; encodeURIComponent leaves five characters more.
function encode(segment) {
  return encodeURIComponent(segment).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

async function publish(kafka, command) {
  const producer = kafka.producer({
    // The lane is Kafka's own hash (murmur2) of the key, as this partitioner computes it. It is the default from
    // KafkaJS 2.0 on; LegacyPartitioner computes another.
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  try {
    await producer.send({
      topic: COMMANDS,
      acks: -1,
      messages: [
        {
          key: command.owner,
          value: JSON.stringify(command.data),
          headers: {
            ce_specversion: "1.0",
            ce_id: command.id,
            ce_source: command.source,
            ce_type: command.type,
            ce_subject: command.subject,
            "content-type": "application/json",
          },
        },
      ],
    });
  } finally {
    await producer.disconnect();
  }
}

async function publishAndWait(kafka, command) {
  // KafkaJS reads through a group only: a throw-away one, removed again at the end. A service keeps one for good.
  const groupId = `example-client-${randomUUID()}`;
  const admin = kafka.admin();
  const consumer = kafka.consumer({ groupId, allowAutoTopicCreation: false });
  try {
    await admin.connect();
    const ends = await admin.fetchTopicOffsets(OUTCOMES);
    await consumer.connect();
    await consumer.subscribe({ topic: OUTCOMES, fromBeginning: false });
    return await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer
        .run({
          autoCommit: false,
          eachMessage: async ({ message }) => {
            const outcome = JSON.parse(message.value.toString());
            if (outcome.source === command.source && outcome.id === command.id) resolve(outcome);
          },
        })
        .then(() => {
          // Read from where the topic ended before publishing, so that a quick outcome isn't missed.
          for (const { partition, high } of ends) consumer.seek({ topic: OUTCOMES, partition, offset: high });
          return publish(kafka, command);
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => {});
    await admin.disconnect();
  }
}

let command;
try {
  command = readCommand();
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
setTimeout(() => {
  console.error(`no outcome of ${command.source} ${command.id} within ${command.timeoutMs / 1000} s`);
  process.exit(1);
}, command.timeoutMs);
try {
  const kafka = new Kafka({ clientId: "example-client", brokers: SERVERS, logLevel: logLevel.NOTHING });
  console.log(JSON.stringify(await publishAndWait(kafka, command)));
  process.exit(0); // the deadline above is still armed
} catch (error) {
  console.error(`no outcome of ${command.source} ${command.id} from ${SERVERS}: ${error.message}`);
  process.exit(1);
}
