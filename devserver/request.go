package devserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What a client may claim, as in Redis. Miniredis allocates what is claimed,
// and ends the process on a command without a name.
const (
	maxArgs   = 1 << 20
	maxBulk   = 512 << 20
	maxInline = 64 << 10
)

var (
	errProtocol = errors.New("devserver: protocol error")
	errHTTP     = errors.New("devserver: an HTTP request")
)

// requests reads commands from a client.
type requests struct {
	r   *bufio.Reader
	buf bytes.Buffer
}

func newRequests(r io.Reader) *requests {
	return &requests{r: bufio.NewReaderSize(r, maxInline)}
}

// next returns the name of the next command, in upper case, and its bytes,
// which are valid until the following call. It skips empty commands and
// rewrites inline ones ("PING\r\n"), which miniredis does not know. POST and
// Host: end the connection, as in Redis: a web page may send them to any port of
// this machine, with commands in the body.
func (q *requests) next() (name string, raw []byte, err error) {
	for {
		line, err := q.r.ReadSlice('\n')
		if err != nil {
			return "", nil, err
		}
		q.buf.Reset()
		if line[0] != '*' {
			if words := strings.Fields(string(line)); len(words) > 0 {
				fmt.Fprintf(&q.buf, "*%d\r\n", len(words))
				for _, w := range words {
					fmt.Fprintf(&q.buf, "$%d\r\n%s\r\n", len(w), w)
				}
				return q.command(words[0])
			}
			continue
		}
		n, err := count(line, maxArgs)
		if err != nil {
			return "", nil, err
		}
		if n <= 0 {
			continue
		}
		q.buf.Write(line)
		for i := range n {
			arg, err := q.bulk()
			if err != nil {
				return "", nil, err
			}
			if i == 0 {
				name = string(arg)
			}
		}
		return q.command(name)
	}
}

func (q *requests) command(word string) (name string, raw []byte, err error) {
	name = strings.ToUpper(word)
	if name == "POST" || name == "HOST:" {
		return "", nil, errHTTP
	}
	return name, q.buf.Bytes(), nil
}

// bulk reads one argument to the buffer, and returns it without its length.
func (q *requests) bulk() ([]byte, error) {
	line, err := q.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	n, err := count(line, maxBulk)
	if err != nil || line[0] != '$' || n < 0 {
		return nil, errProtocol
	}
	q.buf.Write(line)
	start := q.buf.Len()
	if _, err := io.CopyN(&q.buf, q.r, int64(n)+2); err != nil {
		return nil, err
	}
	return q.buf.Bytes()[start : start+n], nil
}

// count reads the number in a line such as "*3\r\n".
func count(line []byte, limit int) (int, error) {
	digits, ok := bytes.CutSuffix(line[1:], []byte("\r\n"))
	n, err := strconv.Atoi(string(digits))
	if !ok || err != nil || n > limit {
		return 0, errProtocol
	}
	return n, nil
}
