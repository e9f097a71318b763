package message

// Header is what an envelope says about its payload, and how it arrived.
type Header struct {
	// ID identifies the message over all attempts and routes. A received
	// message without one gets a fresh ID; see IDGenerated.
	ID string
	// IDGenerated tells that the sender gave no ID: the message can never be
	// recognised as a duplicate.
	IDGenerated bool
	Type        Type
	Source      string
	// Version is the envelope's version text, "1.0" on every known one.
	Version string
	// SchemaVersion is the text of schema_version, read at the top of the
	// envelope, else in the payload (the Python publisher writes it there),
	// written as string or number. "" when there is none.
	SchemaVersion string
	Timestamp     Timestamp
	// Seq is zero when the publisher numbers nothing, as the Python one.
	Seq Seq
	// Part is zero for a whole message.
	Part Part
	// Stream tells that the publisher has put the message into the channel's
	// stream too, so that a durable subscriber gets it from there.
	Stream bool
	// Repeat tells that the publisher sends a snapshot once more, under the ID
	// that it had: for listeners that were not there the first time.
	Repeat bool
	// After is the newest entry of the channel's stream that the publisher knew
	// to come before the message, of one that takes another way than the stream;
	// [AfterUnknown] if it knew only that there may be some; else "". It ends with
	// [AfterOwing] if older messages are still to come into the stream.
	After string

	// Channel is the Redis channel on which the message arrived, or the one
	// named by the caller of Dispatch. Not on the wire.
	Channel string
	// Via tells the route of arrival. Not on the wire.
	Via Via
	// StreamID is the message's place in its stream when it came by ViaStream.
	// Not on the wire.
	StreamID string
}

// Seq numbers the messages of one publisher process on one channel, so that a
// receiver can see a hole. N starts at 1; zero means not numbered.
type Seq struct {
	Epoch string // names the publisher's process
	N     uint64
}

// Part tells that a message carries only part N (from 1) of a snapshot that
// was split into Of for the HTTP fallback. Zero means whole.
type Part struct{ N, Of int }

// Via is a route by which a message arrived.
type Via string

// The routes of arrival.
const (
	ViaPubSub Via = "pubsub"
	ViaHTTP   Via = "http"
	ViaStream Via = "stream"
	ViaPoll   Via = "poll" // fetched by the receiver itself while Redis was away
)
