// Publish one command and wait for its outcome, with franz-go.
//
//	KAFKA_BOOTSTRAP_SERVERS=localhost:9094 go run . [-source NAME] [-timeout-s 30] \
//	    ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]
//
// JOURNEY reads kind:definition, such as lifecycle:shop. Prints the outcome as one line of JSON.
// Exit codes: 0 an outcome came, 1 none came in time, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type command struct{ owner, subject, kind, id, source, data string }

var (
	commands = env("COMMANDS_TOPIC", "journeys.commands")
	outcomes = env("OUTCOMES_TOPIC", "journeys.outcomes")
	servers  = strings.Split(env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9094"), ",")
)

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// encode leaves letters, digits and `-._~`, and percent-encodes the rest; a space is no plus here.
func encode(segment string) string {
	return strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
}

func publish(ctx context.Context, client *kgo.Client, c command) error {
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return client.ProduceSync(ctx, &kgo.Record{
		Topic: commands,
		Key:   []byte(c.owner),
		Value: []byte(c.data),
		Headers: []kgo.RecordHeader{
			header("ce_specversion", "1.0"),
			header("ce_id", c.id),
			header("ce_source", c.source),
			header("ce_type", c.kind),
			header("ce_subject", c.subject),
			header("content-type", "application/json"),
		},
	}).FirstErr()
}

// waitForOutcome returns the outcome of (source, id) as it stood on the topic.
func waitForOutcome(ctx context.Context, client *kgo.Client, c command) ([]byte, error) {
	for {
		fetches := client.PollFetches(ctx)
		for _, failure := range fetches.Errors() {
			return nil, failure.Err
		}
		for _, record := range fetches.Records() {
			var outcome struct{ Source, ID string }
			if json.Unmarshal(record.Value, &outcome) == nil && outcome.Source == c.source && outcome.ID == c.id {
				return record.Value, nil
			}
		}
	}
}

func run(c command, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(servers...),
		// The lane is Kafka's own hash (murmur2) of the key: franz-go's default, written down because it matters.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.RecordDeliveryTimeout(timeout),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	// Read from where the topic ends before publishing, so that a quick outcome isn't missed. A service that runs
	// for long joins a group instead (kgo.ConsumerGroup).
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, outcomes)
	if err := errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	client.AddConsumePartitions(ends.KOffsets())
	if err := publish(ctx, client, c); err != nil {
		return nil, err
	}
	return waitForOutcome(ctx, client, c)
}

func main() {
	source := flag.String("source", "example-client", "who asks; ids are unique in it")
	timeoutS := flag.Float64("timeout-s", 30, "how long to wait, in seconds")
	flag.Parse()
	arguments := flag.Args()
	if len(arguments) < 5 || len(arguments) > 6 {
		fmt.Fprintln(os.Stderr, "usage: client [OPTIONS] ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]")
		os.Exit(2)
	}
	owner := encode(arguments[0]) + "/c/" + encode(arguments[1]) // the record's key
	c := command{
		owner: owner, subject: owner + "/" + arguments[2], kind: arguments[3], id: arguments[4], source: *source, data: "{}",
	}
	if len(arguments) == 6 {
		c.data = arguments[5]
	}

	outcome, err := run(c, time.Duration(*timeoutS*float64(time.Second)))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Fprintf(os.Stderr, "no outcome of %s %s within %v s\n", c.source, c.id, *timeoutS)
		os.Exit(1)
	case err != nil:
		fmt.Fprintf(os.Stderr, "no outcome of %s %s from %s: %v\n", c.source, c.id, strings.Join(servers, ","), err)
		os.Exit(1)
	}
	fmt.Println(string(outcome))
}
