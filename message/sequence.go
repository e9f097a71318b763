package message

import "strconv"

// readSeq reads {"epoch","n"}; anything else, as another producer might mean
// by the key, is no number. text is a copy of raw.
func readSeq(raw span, text string) Seq {
	var seq Seq
	w := walkText(raw, text)
	for w.next() {
		switch w.key {
		case "epoch":
			seq.Epoch = w.string()
		case "n":
			seq.N, _ = strconv.ParseUint(w.string(), 10, 64)
		}
	}
	if seq.N == 0 {
		return Seq{}
	}
	return seq
}

// readPart reads {"n","of"}; anything that is no part of a whole is none.
func readPart(raw span) Part {
	var n, of int64
	w := walk(raw)
	for w.next() {
		switch w.key {
		case "n":
			n = w.int()
		case "of":
			of = w.int()
		}
	}
	if n < 1 || of < n || of > 1<<30 {
		return Part{}
	}
	return Part{N: int(n), Of: int(of)}
}

func appendSeq(dst []byte, seq Seq) []byte {
	dst = append(dst, `{"epoch":`...)
	dst = appendString(dst, seq.Epoch)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, seq.N, 10)
	return append(dst, '}')
}

func appendPart(dst []byte, part Part) []byte {
	dst = append(dst, `{"n":`...)
	dst = strconv.AppendInt(dst, int64(part.N), 10)
	dst = append(dst, `,"of":`...)
	dst = strconv.AppendInt(dst, int64(part.Of), 10)
	return append(dst, '}')
}
