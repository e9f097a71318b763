package message

// Outgoing is an encoded message on its way: what every route sends.
type Outgoing struct {
	ID   string
	Type Type
	// Body is the envelope's JSON. Who holds an Outgoing must not change it
	// and must not keep it beyond the call unless the giver says so.
	Body []byte
}

// AppendEncode validates p and appends the envelope of h and p to dst. Of h
// it uses ID, Source, Timestamp.Time (UTC, microseconds), Seq and Part; type
// and versions come from p. The result is one line of JSON, UTF-8, without
// HTML escaping and without null where the Python services expect a value.
// On error, which wraps [ErrInvalid], dst is returned unchanged.
func AppendEncode(dst []byte, h Header, p Payload) ([]byte, error) {
	panic("message.AppendEncode: in work")
}

// NewID returns a fresh message ID: a random UUID, as the Python publisher's.
func NewID() string { panic("in work") }
