package durable_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/PitchConnect/fogispubsub/durable"
	"github.com/PitchConnect/fogispubsub/internal/faultnet"
	"github.com/PitchConnect/fogispubsub/internal/realredis"
	"github.com/PitchConnect/fogispubsub/message"
)

// Whichever answers are lost, whoever writes meanwhile, and if another process
// takes over: each message is in the stream once, in the order of publishing.
func TestWriter_Append_exactlyOnce(t *testing.T) {
	t.Parallel()
	server := realredis.Start(t)
	proxy := faultnet.New(t, server.Addr())
	conn, direct := connect(t, proxy.Addr()), connect(t, server.Addr())
	var runs atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		channel := fmt.Sprintf("fogis:property:%d", runs.Add(1))
		fresh := func() *durable.Writer {
			w, err := durable.NewWriter(conn, durable.WriterOptions{})
			require.NoError(t, err)
			return w
		}
		other, err := durable.NewWriter(direct, durable.WriterOptions{})
		require.NoError(t, err)
		w := fresh()
		var want []string
		foreign := 0
		for n := range rapid.IntRange(1, 8).Draw(t, "messages") {
			m := message.Outgoing{ID: fmt.Sprint("m", n), Type: message.TypeSystemAlert, Body: []byte("{}")}
			mark, err := w.Mark(ctx, channel)
			require.NoError(t, err)
			after, appended := "", ""
			for lost := rapid.IntRange(0, 3).Draw(t, "lost answers"); ; lost-- {
				if lost > 0 {
					command := "exec"
					if after != "" {
						command = "evalsha"
					}
					proxy.SwallowNextAnswer(command)
				}
				a, err := w.Append(ctx, channel, m, after)
				if lost == 0 {
					require.NoError(t, err)
					require.Equal(t, after != "", a.Existed)
					appended = a.StreamID
					break
				}
				failure, ok := errors.AsType[*durable.Error](err)
				require.True(t, ok && failure.Unknown, "%v", err)
				after = mark
				for range rapid.IntRange(0, 8).Draw(t, "from another writer") {
					foreign++
					_, err := other.Append(ctx, channel, message.Outgoing{ID: fmt.Sprint("other", foreign), Body: []byte("{}")}, "")
					require.NoError(t, err)
				}
				if rapid.Bool().Draw(t, "another process") {
					w = fresh()
				}
			}
			want = append(want, appended+" "+m.ID)
		}
		var got []string
		total := 0
		for e, err := range durable.Replay(ctx, direct, channel, durable.Position{}) {
			require.NoError(t, err)
			total++
			if e.Type == message.TypeSystemAlert {
				got = append(got, e.StreamID+" "+e.ID)
			}
		}
		require.Equal(t, want, got)
		require.Equal(t, len(want)+foreign, total)
		require.NoError(t, direct.Del(ctx, durable.StreamKey(channel)).Err())
	})
}
