package message

// Result tells what became of a message that was handed to a receiver.
type Result struct {
	Type      Type
	MessageID string
	// Matches is how many matches the message carried (zero for other types).
	Matches int
	// Duplicate tells that the message had been handled before and was not
	// handled again.
	Duplicate bool
}
