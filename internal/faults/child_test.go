package faults_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/PitchConnect/fogispubsub/internal/faults"
	"github.com/PitchConnect/fogispubsub/message"
)

// roleVariable holds the role that this test binary plays as a process of a
// seed, instead of testing.
const roleVariable = "FOGIS_FAULTS_TEST_ROLE"

// role is what a process is told.
type role struct {
	Name    string // "publisher" or "subscriber"
	Who     string
	Plan    faults.Plan
	Journal string
	Start   time.Time // of the seed
	Redis   string    // the address of its link
	// HTTP is where a publisher posts, or where a subscriber listens.
	HTTP   string
	Outbox string // the file
	// Runs is the mode of a publisher, and Last tells that no other follows.
	Runs  string
	Last  bool
	Death faults.Death
}

var roles = map[string]func(*process) error{}

// process is what this process is when it plays a role.
type process struct {
	role
	journal *faults.Journal
	logger  *slog.Logger
}

func TestMain(m *testing.M) {
	text := os.Getenv(roleVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := play([]byte(text)); err != nil {
		fmt.Fprintln(os.Stderr, "ended:", err)
		os.Exit(1)
	}
}

func play(text []byte) error {
	p := &process{logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if err := json.Unmarshal(text, &p.role); err != nil {
		return err
	}
	journal, err := faults.OpenJournal(p.Journal, p.Who)
	if err != nil {
		return err
	}
	p.journal = journal
	p.note(faults.Record{What: faults.Up})
	return roles[p.Name](p)
}

// note writes to the journal. Without it nothing counts, so a failure ends the
// process.
func (p *process) note(r faults.Record) {
	if err := p.journal.Write(r); err != nil {
		fmt.Fprintln(os.Stderr, "journal:", err)
		os.Exit(1)
	}
}

// die ends the process as kill -9 does.
func (p *process) die(at string) {
	p.note(faults.Record{What: faults.Dies, Detail: at})
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	fmt.Fprintln(os.Stderr, "dying:", err)
	select {} // until the signal is there
}

// endWithParent ends the process when its input does, and hands each line to f.
func endWithParent(f func(line string)) {
	var line []byte
	one := make([]byte, 1)
	for {
		_, err := os.Stdin.Read(one)
		switch {
		case err == io.EOF:
			os.Exit(1)
		case err != nil:
			fmt.Fprintln(os.Stderr, "input:", err)
			os.Exit(1)
		case one[0] == '\n':
			f(string(line))
			line = line[:0]
		default:
			line = append(line, one[0])
		}
	}
}

// redisOptions are those of the root package, with times that fit a seed.
func (p *process) redisOptions() *redis.Options {
	return &redis.Options{
		Addr: p.Redis, DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// count is how many messages of a type a seed has.
func count(share int) int { return faults.Messages * share / 100 }

// payload is the message with a number.
func payload(seed uint64, t message.Type, n int) message.Payload {
	pad := make([]byte, faults.BehaviourOf(seed, t, n).Pad)
	for i := range pad {
		pad[i] = 'x'
	}
	details := map[string]json.RawMessage{
		"n": fmt.Append(nil, n), "pad": fmt.Appendf(nil, "%q", pad),
		"contact": []byte(`"070-174 06 05, anna@example.com"`), // the logs are searched for it
	}
	switch t {
	case message.TypeMatchUpdates:
		return message.MatchUpdates{Matches: []message.Match{{ID: message.NewMatchID(int64(n)), Kickoff: kickoff}}, Metadata: details}
	case message.TypeProcessingStatus:
		return message.ProcessingStatus{Status: message.StatusCompleted, Details: details}
	default:
		return message.SystemAlert{AlertType: "processing_error", Severity: "info", Details: details}
	}
}

var kickoff = time.Date(2031, 5, 6, 15, 0, 0, 0, time.UTC)

// numberOf is the number of a message.
func numberOf(e *message.Envelope) (n int, err error) {
	details := func(raw map[string]json.RawMessage) { err = json.Unmarshal(raw["n"], &n) }
	switch e.Type {
	case message.TypeMatchUpdates:
		m, err := message.As[message.MatchUpdates](e)
		if err != nil || len(m.Payload.Matches) != 1 {
			return 0, fmt.Errorf("no match: %w", err)
		}
		return int(m.Payload.Matches[0].ID.Int), nil
	case message.TypeProcessingStatus:
		m, failed := message.As[message.ProcessingStatus](e)
		if failed != nil {
			return 0, failed
		}
		details(m.Payload.Details)
	default:
		m, failed := message.As[message.SystemAlert](e)
		if failed != nil {
			return 0, failed
		}
		details(m.Payload.Details)
	}
	return n, err
}
