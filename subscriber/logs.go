package subscriber

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/PitchConnect/fogispubsub/message"
)

// logs writes what an operator should know, with each kind of line limited.
// It never gets to see a payload.
type logs struct {
	logger *slog.Logger
	lost, resumed, attempt, gap, invalid, sanitized,
	unhandled, stray, leap, duplicate, retry, failed, callback, probe, poll *bucket
}

func newLogs(logger *slog.Logger) logs {
	limit := func() *bucket { return &bucket{burst: 20, period: 10 * time.Second} }
	return logs{
		logger: logger,
		lost:   limit(), resumed: limit(), gap: limit(), invalid: limit(), sanitized: limit(), unhandled: limit(), stray: limit(), leap: limit(),
		duplicate: limit(), retry: limit(), failed: limit(), callback: limit(), probe: limit(), poll: limit(),
		attempt: &bucket{burst: 3, period: time.Minute},
	}
}

// line writes one line of a kind, unless there were too many of them.
func (l *logs) line(ctx context.Context, kind *bucket, level slog.Level, text string, attrs ...slog.Attr) {
	if !l.logger.Enabled(ctx, level) {
		return
	}
	suppressed, ok := kind.take(time.Now())
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	l.logger.LogAttrs(ctx, level, text, attrs...)
}

// message writes one line about a message. attempt and err are left out when
// they are zero.
func (l *logs) message(ctx context.Context, kind *bucket, level slog.Level, text string, h *message.Header, size, attempt int, err error) {
	if !l.logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("type", clip(string(h.Type))),
		slog.String("message_id", clip(h.ID)),
		slog.String("channel", clip(h.Channel)),
		slog.String("route", string(h.Via)),
		slog.Int("bytes", size),
	}
	if attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", attempt))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(panicked.Stack)))
	}
	l.line(ctx, kind, level, text, attrs...)
}
