package message

import "time"

// Timestamp is a point in time with the text that gave it.
type Timestamp struct {
	time.Time // zero when the text could not be read
	// Text is the original spelling, "" when the field was missing.
	Text string
	// Uncertain tells that the text named no zone, so that Time rests on the
	// decoder's Zone.
	Uncertain bool
}
