package subscriber_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/subscriber"
)

func TestSequence(t *testing.T) {
	t.Parallel()
	numbered := func(source, epoch string, n uint64) []byte {
		return encode(t, message.Header{ID: fmt.Sprint(source, epoch, n), Source: source, Seq: message.Seq{Epoch: epoch, N: n}},
			message.ProcessingStatus{Status: "started"})
	}
	type r = subscriber.Range
	tests := []struct {
		name string
		// Each step is a message: "5" on pub/sub, "5 http" by Dispatch; an
		// epoch may stand before a colon; "cut" ends the connection.
		steps   []string
		missing [][]r
	}{
		{"none", []string{"1", "2", "3"}, nil},
		{"starts anywhere", []string{"700", "701"}, nil},
		{"one", []string{"1", "3"}, [][]r{{{2, 2}}}},
		{"several", []string{"1", "5", "6", "9"}, [][]r{{{2, 4}}, {{7, 8}}}},
		{"late and twice", []string{"3", "4", "2", "4", "1", "5"}, nil},
		{"hole is reported once", []string{"1", "4", "2", "3", "5"}, [][]r{{{2, 3}}}},
		{"epochs", []string{"a:1", "b:7", "a:2", "b:9", "a:3"}, [][]r{{{8, 8}}}},
		{"http fills", []string{"1", "2 http", "3"}, nil},
		{"http first", []string{"1 http", "2"}, nil},
		{"http ahead of what is on its way", []string{"1", "4 http", "2", "3", "5"}, nil},
		{"http shows no hole", []string{"1", "9 http"}, nil},
		{"hole around what http brought", []string{"1", "4 http", "6 http", "8"}, [][]r{{{2, 3}, {5, 5}, {7, 7}}}},
		{"not again for a session's gap", []string{"1", "cut", "5", "6"}, nil},
		{"huge", []string{"1", "18446744073709551615"}, [][]r{nil}},
		{"a forged number hides nothing", []string{"1", "18446744073709551615", "2", "4"}, [][]r{nil, {{3, 3}}}},
		{"nor twice", []string{"1", "9999999", "9999999", "2", "4"}, [][]r{nil, {{3, 3}}}},
		{"nor at first", []string{"18446744073709551615", "1", "2", "4"}, [][]r{nil, {{3, 3}}}},
		{"nor by http", []string{"1", "18446744073709551615 http", "2", "4"}, [][]r{{{3, 3}}}},
		{"a count goes on after a leap", []string{"1", "5000000", "5000001", "5000003"}, [][]r{nil, {{5000002, 5000002}}}},
		{"and after a hole there", []string{"1", "5000000", "5000002"}, [][]r{nil, {{5000001, 5000001}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got recorder
				b, run, e := box(t, subscriber.Options{}, got.handle)
				for _, step := range test.steps {
					time.Sleep(time.Second)
					if step == "cut" {
						b.cut(false)
						synctest.Wait()
						continue
					}
					step, http := strings.CutSuffix(step, " http")
					epoch, number, named := strings.Cut(step, ":")
					if !named {
						epoch, number = "e", step
					}
					var n uint64
					fmt.Sscan(number, &n)
					if http {
						_, err := run.Dispatch(t.Context(), "", numbered("s", epoch, n))
						require.NoError(t, err)
					} else {
						b.Publish(statusChannel, string(numbered("s", epoch, n)))
					}
					synctest.Wait()
				}
				var missing [][]r
				for _, g := range e.Gaps() {
					if g.Cause == subscriber.CauseSequence {
						missing = append(missing, g.Missing)
						require.Equal(t, "s", g.Source)
						require.Equal(t, []string{statusChannel}, g.Channels)
						require.NoError(t, g.Err)
					}
				}
				require.Equal(t, test.missing, missing)
				require.NoError(t, run.stop())
			})
		})
	}
}

func TestSequence_intervalOfAHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{PingInterval: 2 * time.Second}, got.handle)
		began := time.Now()
		send := func(n uint64) {
			b.Publish(statusChannel, string(encode(t, message.Header{Source: "s", Seq: message.Seq{Epoch: "e", N: n}}, message.ProcessingStatus{Status: "started"})))
		}
		time.Sleep(5 * time.Second)
		send(1)
		time.Sleep(6 * time.Second)
		send(3)
		synctest.Wait()
		require.Len(t, e.Gaps(), 1)
		require.Equal(t, began.Add(4*time.Second), e.Gaps()[0].From, "the PING before message 1")
		require.Equal(t, began.Add(11*time.Second), e.Gaps()[0].To)
		require.Equal(t, 1, e.Gaps()[0].Epoch)
		require.NoError(t, r.stop())
	})
}

func TestSequence_manySourcesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got recorder
		b, r, e := box(t, subscriber.Options{}, got.handle)
		send := func(source string, n uint64) {
			b.Publish(statusChannel, string(encode(t, message.Header{Source: source, Seq: message.Seq{Epoch: "e", N: n}}, message.ProcessingStatus{Status: "started"})))
			synctest.Wait()
		}
		send("kept", 1)
		send("forgotten", 1)
		for i := range 2000 {
			send(fmt.Sprint("source ", i), 1)
			if i%100 == 0 {
				send("kept", uint64(2+i/100))
			}
		}
		send("forgotten", 9)
		require.Empty(t, e.Gaps())
		send("kept", 30)
		require.Len(t, e.Gaps(), 1)
		send(strings.Repeat("long", 64), 1)
		send(strings.Repeat("long", 64), 3)
		require.Len(t, e.Gaps(), 1)
		require.NoError(t, r.stop())
	})
}
