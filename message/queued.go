package message

import "time"

// Queued is a message that waits in an outbox, with what each route has said
// about it so far. Printing or logging one shows its type and ID only.
type Queued struct {
	Outgoing
	// After is a place in the stream that lies before every attempt to append
	// the message; "" while the stream cannot have it.
	After string
	// Posted reports that the fallback took the message.
	Posted bool
	// Refused is why the fallback refused the message for good; "" if it did not.
	// It holds nothing of the message.
	Refused string
	// Heard reports that Redis published the message, but to fewer listeners than
	// were required.
	Heard bool
	// PutAt is when the message was recorded, by this computer's clock.
	PutAt time.Time
}
