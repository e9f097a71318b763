package durable

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/PitchConnect/fogispubsub/internal/topology"
	"github.com/PitchConnect/fogispubsub/message"
	"github.com/redis/go-redis/v9"
)

// Defaults of [WriterOptions].
const (
	DefaultMaxAge   = 7 * 24 * time.Hour
	DefaultMaxLen   = 1000
	DefaultMaxBytes = 96 << 20
)

// WriterOptions holds the settings of a [Writer]. The zero value is ready to
// use.
type WriterOptions struct {
	// MaxAge, MaxLen and MaxBytes bound a stream. Zero is [DefaultMaxAge],
	// [DefaultMaxLen] and [DefaultMaxBytes], negative is no bound. An append
	// removes most entries that are too old, once a minute or a hundredth of
	// MaxAge; [Writer.Age] removes all of them. Number and memory are looked at
	// every 100 appends or 4 MiB, so a stream may be larger by as much; these two
	// bounds leave one entry.
	MaxAge   time.Duration
	MaxLen   int
	MaxBytes int64

	// OnTrim is called after entries were trimmed because of MaxLen or MaxBytes,
	// or with the error that prevented it. A failed trim does not fail the append.
	// Append calls it, so it must not block; nil is not called.
	OnTrim func(channel string, removed int64, err error)
}

// Writer appends messages to the streams of channels and publishes them on the
// channels. It may be used by several goroutines. It has no Close: the caller
// owns the Redis client. It makes no second attempt by itself.
type Writer struct {
	conn redis.UniversalClient
	opts WriterOptions

	mu      sync.Mutex // guards streams
	streams map[string]*written
}

// written is what a Writer knows of a stream.
type written struct {
	last string    // newest ID seen; "" is none yet
	at   time.Time // when it was seen
	aged time.Time // when entries that are too old were asked to go
	// since the last look at number and memory
	appends int
	bytes   int
}

// Appended is what became of a message that is in the stream.
type Appended struct {
	StreamID string
	// Receivers is to how many listeners Redis has handed the message, which
	// is no receipt of theirs.
	Receivers int64
	// Existed tells that an earlier attempt had appended the message.
	Existed bool
}

// NewWriter returns a Writer on conn. It does not connect. It refuses a client
// that repeats commands (MaxRetries and on a cluster MaxRedirects must be -1)
// or lets no deadline reach its sockets (ContextTimeoutEnabled must be true).
func NewWriter(conn redis.UniversalClient, opts WriterOptions) (*Writer, error) {
	if err := checkClient(conn); err != nil {
		return nil, err
	}
	opts.MaxAge = orDefault(opts.MaxAge, DefaultMaxAge)
	opts.MaxLen = orDefault(opts.MaxLen, DefaultMaxLen)
	opts.MaxBytes = orDefault(opts.MaxBytes, DefaultMaxBytes)
	return &Writer{conn: conn, opts: opts, streams: map[string]*written{}}, nil
}

// orDefault is def for zero and zero for a negative, which means off.
func orDefault[N int | int64 | time.Duration](n, def N) N {
	if n == 0 {
		return def
	}
	return max(n, 0)
}

// Mark returns a place in the channel's stream that every later append lies
// after: what [Writer.Append] wants to know for a second attempt. Ask for it
// before the first one, and keep it with the message for as long as attempts
// are made, over restarts too. Only the first Mark for a channel asks Redis.
func (w *Writer) Mark(ctx context.Context, channel string) (string, error) {
	if last, _ := w.seen(channel); last != "" {
		return last, nil
	}
	if err := CheckChannel(channel); err != nil {
		return "", err
	}
	node, err := topology.Node(ctx, w.conn, channel)
	if err != nil {
		return "", w.fail(ctx, "mark", channel, err)
	}
	if err := proveTransactions(ctx, node); err != nil {
		return "", w.fail(ctx, "mark", channel, err)
	}
	last, err := onlyText(markScript.texts(ctx, node, []string{StreamKey(channel)}).Result())
	if err != nil {
		return "", w.fail(ctx, "mark", channel, err)
	}
	w.note(channel, last, 0)
	return last, nil
}

// Append adds m to the channel's stream and publishes the same bytes on the
// channel, both or neither. m.Body is not kept. The error is an [*Error], but
// for a name that [CheckChannel] refuses.
//
// after is "" for the first attempt, which costs one transaction. When it ended
// with Error.Unknown, m may be in the stream: every further attempt, in this
// process or another, must give the [Writer.Mark] from before the first one.
// It looks for m.ID among the entries after that mark, and appends m only if it
// is not there; Appended.Existed tells. It publishes m in both cases: a server
// that was killed may have kept the entry and told no listener, and listeners
// know m again by its ID.
//
// An attempt that finds its entry trimmed away already appends m again.
func (w *Writer) Append(ctx context.Context, channel string, m message.Outgoing, after string) (Appended, error) {
	if err := CheckChannel(channel); err != nil {
		return Appended{}, err
	}
	node, err := topology.Node(ctx, w.conn, channel)
	if err != nil {
		return Appended{}, w.fail(ctx, "append", channel, err)
	}
	var a Appended
	if after == "" {
		a, err = w.transact(ctx, node, channel, m)
	} else {
		a, err = w.repeat(ctx, node, channel, m, after)
	}
	if err != nil {
		return Appended{}, w.fail(ctx, "append", channel, err)
	}
	if w.note(channel, a.StreamID, len(m.Body)) {
		w.trim(ctx, node, channel)
	}
	return a, nil
}

// transact is the first attempt. Its commands go in one write and each answer is
// read, so that no answer is left on the connection for the next command. Those of
// the middle are not QUEUED where the server knows no MULTI.
func (w *Writer) transact(ctx context.Context, node redis.UniversalClient, channel string, m message.Outgoing) (Appended, error) {
	args := make([]any, 0, 12)
	args = append(args, "xadd", StreamKey(channel))
	if oldest := w.oldest(channel); oldest != "" && w.ages(channel) {
		args = append(args, "minid", "~", oldest)
	}
	args = append(args, "*", "id", m.ID, "type", string(m.Type), "data", m.Body)
	begin, commit := redis.NewStatusCmd(ctx, "multi"), redis.NewSliceCmd(ctx, "exec")
	add, publish := redis.NewCmd(ctx, args...), redis.NewCmd(ctx, "publish", channel, m.Body)
	all := node.Pipeline()
	for _, cmd := range []redis.Cmder{begin, add, publish, commit} {
		_ = all.Process(ctx, cmd)
	}
	if err := topology.Exec(ctx, all); err != nil {
		return Appended{}, err
	}
	a, err := judge(begin, add, publish, commit)
	if err == errAnswer || topology.IsMoving(err) || isUnknownCommand(err) {
		// go-redis saw an answer to the first command, and keeps the connection: to
		// a replica, or inside of a MULTI that has no EXEC.
		topology.DropIdle(node)
	}
	return a, err
}

// judge reads the answers of a transaction.
func judge(begin *redis.StatusCmd, add, publish *redis.Cmd, commit *redis.SliceCmd) (Appended, error) {
	if err := begin.Err(); err != nil {
		// Without MULTI both were done one by one, or went with what somebody else
		// had queued on this connection: no refusal.
		if add.Err() == nil || publish.Err() == nil {
			return Appended{}, errAnswer
		}
		return Appended{}, err
	}
	// EXECABORT says only that one of the others was refused.
	for _, queued := range []*redis.Cmd{add, publish} {
		if err := queued.Err(); err != nil {
			return Appended{}, err
		}
	}
	answers, err := commit.Result()
	if err != nil {
		return Appended{}, err
	}
	if len(answers) != 2 || add.Val() != "QUEUED" || publish.Val() != "QUEUED" {
		return Appended{}, errAnswer
	}
	for _, answer := range answers {
		if err, ok := answer.(error); ok {
			return Appended{}, err
		}
	}
	id, ok1 := answers[0].(string)
	receivers, ok2 := answers[1].(int64)
	if !ok1 || !ok2 {
		return Appended{}, errAnswer
	}
	return Appended{StreamID: id, Receivers: receivers}, nil
}

// proveTransactions runs an empty transaction. Where MULTI or EXEC was taken away,
// from the server or from the user, an append and its publish would be done one by
// one, or not at all.
func proveTransactions(ctx context.Context, node redis.UniversalClient) error {
	both := node.Pipeline()
	begin, commit := redis.NewStatusCmd(ctx, "multi"), redis.NewSliceCmd(ctx, "exec")
	_, _ = both.Process(ctx, begin), both.Process(ctx, commit)
	if err := topology.Exec(ctx, both); err != nil {
		return err
	}
	if err := begin.Err(); err != nil {
		return err
	}
	if err := commit.Err(); err != nil {
		topology.DropIdle(node) // the connection is inside MULTI
		return err
	}
	return nil
}

// repeat is an attempt after one whose outcome is unknown.
func (w *Writer) repeat(ctx context.Context, node redis.UniversalClient, channel string, m message.Outgoing, after string) (Appended, error) {
	answer, err := appendScript.list(ctx, node, []string{StreamKey(channel)},
		after, w.oldest(channel), m.ID, string(m.Type), m.Body, channel).Result()
	if err != nil {
		return Appended{}, err
	}
	if len(answer) != 3 {
		return Appended{}, errAnswer
	}
	id, ok1 := answer[0].(string)
	receivers, ok2 := answer[1].(int64)
	existed, ok3 := answer[2].(int64)
	if !ok1 || !ok2 || !ok3 {
		return Appended{}, errAnswer
	}
	return Appended{StreamID: id, Receivers: receivers, Existed: existed == 1}, nil
}

// errAnswer stands for an answer that does not belong to what was asked.
var errAnswer = errors.New("durable: unexpected answer")

// fail makes the error of an operation, and forgets where the channel lives
// when it moved.
func (w *Writer) fail(ctx context.Context, op, channel string, err error) *Error {
	topology.Refresh(ctx, w.conn, err)
	return fail(op, channel, "", writerRights, err)
}

// seen returns the newest ID that was seen in a stream, and when.
func (w *Writer) seen(channel string) (string, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams[channel]
	if s == nil {
		return "", time.Time{}
	}
	return s.last, s.at
}

// note remembers an ID seen, and tells whether it is time to look at the size
// of the stream.
func (w *Writer) note(channel, id string, size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams[channel]
	if s == nil {
		s = &written{}
		w.streams[channel] = s
	}
	// Not the greatest: after FLUSHALL a stream may begin again below.
	s.last, s.at = id, time.Now()
	if size == 0 || w.opts.MaxLen == 0 && w.opts.MaxBytes == 0 {
		return false
	}
	s.appends++
	s.bytes += size
	return s.appends >= trimAppends || s.bytes >= trimBytes
}

// ages tells whether entries that are too old are to go with the next append:
// to look for them costs a twentieth of one.
func (w *Writer) ages(channel string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, now := w.streams[channel], time.Now()
	if now.Sub(s.aged) < min(time.Minute, w.opts.MaxAge/100) {
		return false
	}
	s.aged = now
	return true
}

// oldest is the ID below which entries are too old, by the server's clock as
// the IDs show it: a wrong clock here must not empty the stream. "" is none.
func (w *Writer) oldest(channel string) string {
	if w.opts.MaxAge == 0 {
		return ""
	}
	last, at := w.seen(channel)
	ms, _, ok := parseID(last)
	if !ok || ms == 0 {
		return ""
	}
	ms += uint64(max(time.Since(at), 0).Milliseconds())
	age := uint64(w.opts.MaxAge.Milliseconds())
	if ms <= age {
		return ""
	}
	return strconv.FormatUint(ms-age, 10)
}

// markScript returns the ID of the newest entry, without the entry.
var markScript = newScript(`
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #newest == 0 then return {'0-0'} end
return {newest[1][1]}
`)

// appendScript looks for a message from the newest entry down to ARGV[1],
// adds it if it is not there, and publishes it. When all of the stream lies
// below ARGV[1] it is another stream than the one of the mark. A PUBLISH that is
// refused counts as one that nobody heard: the entry is there.
var appendScript = newScript(newerID + fieldOf + `
local after, oldest, id = ARGV[1], ARGV[2], ARGV[3]
local found, upper = nil, '+'
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #entries > 0 and newer(after, entries[1][1]) then after = '0-0' end
while not found and #entries > 0 do
  for _, entry in ipairs(entries) do
    upper = entry[1]
    if not newer(upper, after) then upper = nil break end
    if field(entry[2], 'id') == id then found = upper break end
  end
  if found or not upper then break end
  entries = redis.call('XREVRANGE', KEYS[1], '(' .. upper, '-', 'COUNT', 5)
end
local existed = found and 1 or 0
if not found then
  if oldest ~= '' then
    found = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'id', id, 'type', ARGV[4], 'data', ARGV[5])
  else
    found = redis.call('XADD', KEYS[1], '*', 'id', id, 'type', ARGV[4], 'data', ARGV[5])
  end
end
local heard = redis.pcall('PUBLISH', ARGV[6], ARGV[5])
return {found, type(heard) == 'number' and heard or 0, existed}
`)
