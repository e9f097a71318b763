package topology

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// failoverAddr is what go-redis puts into Options.Addr for a client that asks
// Sentinel.
const failoverAddr = "FailoverClient"

// Check refuses a client that repeats commands by itself, so that a message
// whose answer was lost would be sent twice, and one that waits beyond a
// deadline. Other implementations of UniversalClient than go-redis' own are
// taken as they are.
func Check(conn redis.UniversalClient) error {
	if IsNil(conn) {
		return errors.New("no Redis client")
	}
	var retries, redirects int
	deadlines := true
	switch c := conn.(type) {
	case *redis.Client:
		o := c.Options()
		retries, deadlines = max(o.MaxRetries, 0), o.ContextTimeoutEnabled
	case *redis.ClusterClient:
		o := c.Options()
		retries, redirects, deadlines = max(o.MaxRetries, 0), max(o.MaxRedirects, 0), o.ContextTimeoutEnabled
	case *redis.Ring:
		return errors.New("a redis.Ring cannot keep what belongs together on one server; use a Client or a ClusterClient")
	}
	var faults []error
	if retries != 0 || redirects != 0 {
		faults = append(faults, errors.New("the Redis client repeats a command whose answer was lost, and so doubles it; set MaxRetries: -1, on a cluster MaxRedirects: -1 too"))
	}
	if !deadlines {
		faults = append(faults, errors.New("the Redis client ignores deadlines on its connections; set ContextTimeoutEnabled: true"))
	}
	return errors.Join(faults...)
}

// CheckOptions refuses a client that [Options] has no answer for.
func CheckOptions(conn redis.UniversalClient) error {
	switch conn.(type) {
	case *redis.Client, *redis.ClusterClient:
		return nil
	}
	return fmt.Errorf("connections of its own need the options of a *redis.Client or *redis.ClusterClient, which a %T does not have", conn)
}

// IsNil tells whether conn holds nothing or a nil pointer.
func IsNil(conn redis.UniversalClient) bool {
	if conn == nil {
		return true
	}
	v := reflect.ValueOf(conn)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// Addr tells where a client looks for Redis, for errors; "" when it is not
// known.
func Addr(conn redis.UniversalClient) string {
	switch c := conn.(type) {
	case *redis.Client:
		if BehindSentinel(c.Options()) {
			return "(the master that Sentinel names)"
		}
		return c.Options().Addr
	case *redis.ClusterClient:
		return strings.Join(c.Options().Addrs, ",")
	}
	return ""
}

// Node is the client for all commands on a channel: of a cluster that of the node
// which has the channel's slot, and with it the streams of the channel.
func Node(ctx context.Context, conn redis.UniversalClient, channel string) (redis.UniversalClient, error) {
	cluster, ok := conn.(*redis.ClusterClient)
	if !ok {
		return conn, nil
	}
	return cluster.MasterForKey(ctx, channel)
}

// Options is a copy of the options with which a client reaches the channel's
// node. For a client behind Sentinel the Dialer in them asks for the master.
func Options(ctx context.Context, conn redis.UniversalClient, channel string) (*redis.Options, error) {
	node, err := Node(ctx, conn, channel)
	if err != nil {
		return nil, err
	}
	c, ok := node.(*redis.Client)
	if !ok {
		return nil, CheckOptions(node)
	}
	o := *c.Options()
	return &o, nil
}

// Plain switches off what go-redis would do by itself on a single connection of
// ours: repeat, pool, count on a shared breaker, cache, and watch for
// maintenance, for which it would resolve the host name outside of every
// context.
func Plain(o *redis.Options) {
	o.Protocol, o.MaxRetries, o.DialerRetries = 2, -1, 1
	o.PoolSize, o.MinIdleConns, o.PipelinePoolSize = 1, 0, -1
	o.MaxIdleConns, o.MaxActiveConns = 0, 0
	o.Limiter, o.PushNotificationProcessor = nil, nil
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// IsNetwork tells whether an error is about the connection and not about what
// came over it.
func IsNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	text := err.Error()
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ")
}
