package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/publisher"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever Redis and the fallback do, each message ends in exactly one place as
// its receipt says, or in an error that nothing which was answered contradicts;
// every route gets messages in the order of the calls; one ID and one number
// belong to one message.
func TestPublisher_Publish_exactlyOnePlaceInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			":1\r\n", ":1\r\n", ":0\r\n", cut, "lost",
			"-LOADING Redis is loading the dataset in memory\r\n", "-NOPERM no\r\n",
			"-ERR Protocol error: invalid bulk length\r\n", "-MOVED 1 192.0.2.9:6379\r\n",
		}), 0, 30).Draw(rt, "answers")
		refusals := rapid.SliceOfN(rapid.SampledFrom([]error{nil, errors.New("503"), message.ErrRefused}), 0, 10).Draw(rt, "fallback answers")
		pauses := rapid.SliceOfN(rapid.SampledFrom(seconds(0, 0, 0, 0.5, 1, 5)), 1, 12).Draw(rt, "pauses")
		running := rapid.Bool().Draw(rt, "running")
		opts := publisher.Options{
			MaxRetries:       rapid.SampledFrom([]int{-1, 0, 1}).Draw(rt, "retries"),
			NoRetryOnTimeout: rapid.Bool().Draw(rt, "no retry on timeout"),
		}

		s, fallback := &server{}, &recorder{}
		opts.Fallback = fallback
		var delivered []string // as Redis handed them out
		s.answer = func(args []string) string {
			if args[0] != "publish" {
				return ""
			}
			reply := ":1\r\n"
			if len(steps) > 0 {
				reply, steps = steps[0], steps[1:]
			}
			if reply == ":1\r\n" || reply == "lost" {
				delivered = append(delivered, homeTeam(t, []byte(args[2])))
			}
			if reply == "lost" {
				return cut
			}
			return reply
		}
		fallback.take = func(context.Context) error {
			if len(refusals) == 0 {
				return nil
			}
			answer := refusals[0]
			refusals = refusals[1:]
			return answer
		}
		receipts := make([]publisher.Receipt, len(pauses))
		errs := make([]error, len(pauses))
		synctest.Test(t, func(t *testing.T) {
			p := newPublisher(t, s.client(t), opts)
			if running {
				defer run(t, p)()
			}
			for i, pause := range pauses {
				time.Sleep(pause)
				receipts[i], errs[i] = p.Publish(t.Context(), update(fmt.Sprint(i)))
			}
		})

		var byFallback []string
		for i, receipt := range receipts {
			name := fmt.Sprint(i)
			if errs[i] != nil {
				e, ok := errors.AsType[*publisher.Error](errs[i])
				require.True(rt, ok)
				require.Error(rt, e.Fallback)
				if !e.Unknown {
					require.NotContains(rt, delivered, name)
				}
				continue
			}
			if receipt.Route == publisher.RoutePubSub {
				require.Contains(rt, delivered, name)
				continue
			}
			require.Equal(rt, publisher.RouteFallback, receipt.Route)
			byFallback = append(byFallback, name)
		}
		require.Equal(rt, byFallback, fallback.names(t), "each once, in order, and nothing that Redis took")

		numbers := make([]int, len(delivered))
		for i, name := range delivered {
			numbers[i], _ = strconv.Atoi(name)
		}
		require.True(rt, slices.IsSorted(numbers), "%v", delivered)

		bodies := make(map[string][]byte)
		note := func(body []byte) {
			name := homeTeam(t, body)
			first, seen := bodies[name]
			require.True(rt, !seen || bytes.Equal(first, body), "another ID, number or content for %s", name)
			bodies[name] = body
			n, _ := strconv.Atoi(name)
			require.Equal(rt, uint64(n+1), parse(t, body).Seq.N)
		}
		for _, r := range s.requests("publish") {
			note([]byte(r.args[2]))
		}
		for _, m := range fallback.got {
			note(m.Body)
		}
	})
}
