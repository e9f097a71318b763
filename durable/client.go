package durable

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// checkClient refuses a client that repeats commands by itself, so that an
// entry whose append was not answered would be there twice, or that waits
// beyond a deadline. Other implementations of UniversalClient than go-redis'
// own are taken as they are.
func checkClient(conn redis.UniversalClient) error {
	if conn == nil || reflect.ValueOf(conn).Kind() == reflect.Pointer && reflect.ValueOf(conn).IsNil() {
		return errors.New("durable: no Redis client")
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
		return errors.New("durable: a redis.Ring cannot keep the keys of a stream together; use a Client or a ClusterClient")
	}
	var faults []error
	if retries != 0 || redirects != 0 {
		faults = append(faults, errors.New("durable: the Redis client repeats commands by itself; set MaxRetries: -1, on a cluster MaxRedirects: -1 too"))
	}
	if !deadlines {
		faults = append(faults, errors.New("durable: the Redis client does not heed deadlines on its connections; set ContextTimeoutEnabled: true"))
	}
	return errors.Join(faults...)
}

// nodeOf is the client for all commands on a channel: of a cluster that of the
// node which has the channel's slot, since a transaction and its PUBLISH must
// run there.
func nodeOf(ctx context.Context, conn redis.UniversalClient, channel string) (redis.UniversalClient, error) {
	cluster, ok := conn.(*redis.ClusterClient)
	if !ok {
		return conn, nil
	}
	return cluster.MasterForKey(ctx, StreamKey(channel))
}

// refresh has a cluster's client look for the slots anew after an error that
// tells of a move.
func refresh(ctx context.Context, conn redis.UniversalClient, err error) {
	if cluster, ok := conn.(*redis.ClusterClient); ok && (isMoved(err) || isNetwork(err) || redis.IsReadOnlyError(err)) {
		cluster.ReloadState(ctx)
	}
}

// optionsOf is a copy of the options with which a client reaches the channel's
// node. For a client behind Sentinel the Dialer in them asks for the master.
func optionsOf(ctx context.Context, conn redis.UniversalClient, channel string) (*redis.Options, error) {
	node, err := nodeOf(ctx, conn, channel)
	if err != nil {
		return nil, err
	}
	c, ok := node.(*redis.Client)
	if !ok {
		return nil, fmt.Errorf("durable: a reader opens connections of its own and needs a *redis.Client or *redis.ClusterClient, not a %T", conn)
	}
	o := *c.Options()
	return &o, nil
}
