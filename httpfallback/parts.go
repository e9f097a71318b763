package httpfallback

import (
	"errors"

	"github.com/PitchConnect/fogispubsub/message"
)

// errOtherType is the cause when a receiver of match updates would be sent
// something else. It does not wrap message.ErrInvalid: the message is good.
var errOtherType = errors.New("the receiver takes match updates only")

// body is the next request's: the envelope as it is, or one with a part of
// the matches.
func (d *delivery) body() ([]byte, error) {
	if d.form == whole {
		return d.msg.Body, nil
	}
	if d.envelope == nil {
		if d.msg.Type != message.TypeMatchUpdates {
			return nil, errOtherType
		}
		e, err := message.Decoder{MaxBytes: len(d.msg.Body) + 1}.Decode(d.msg.Body)
		if err != nil {
			return nil, err
		}
		d.envelope, d.matches = e, e.RawMatches()
	}
	from, to := d.bounds()
	part := message.Part{N: d.next + 1, Of: d.of()}
	if part.N == 1 {
		return d.envelope.AppendPart(nil, part, d.matches[from:to])
	}
	// AppendPart walks over the whole envelope, which for each of many parts
	// would cost the square of the matches.
	if d.frame == nil {
		empty, err := d.envelope.AppendPart(nil, part, nil)
		if err != nil {
			return nil, err
		}
		if d.frame, err = (message.Decoder{MaxBytes: len(empty) + 1}).Decode(empty); err != nil {
			return nil, err
		}
	}
	return d.frame.AppendPart(nil, part, d.matches[from:to])
}

// bounds returns the range of the matches that the next part holds.
func (d *delivery) bounds() (from, to int) {
	size := d.client.opts.BatchSize
	if size < 0 {
		return 0, len(d.matches)
	}
	from = d.next * size
	return from, min(from+size, len(d.matches))
}

// of returns the number of parts. A snapshot without matches is one part.
func (d *delivery) of() int {
	size := d.client.opts.BatchSize
	if size < 0 || len(d.matches) == 0 {
		return 1
	}
	return (len(d.matches)-1)/size + 1
}
