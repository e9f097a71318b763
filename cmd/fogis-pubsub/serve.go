package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/httpadmin"
)

// Paths that serve tells of: where the Python calendar takes a fallback, and so
// do we, and the status page.
const (
	manualSyncPath = "/manual-sync"
	dashboardPath  = "/redis-dashboard"
)

func (c *command) serve(ctx context.Context, args []string) (err error) {
	f := c.flags("serve", slog.LevelWarn)
	addr := f.String("addr", "", "`host:port` to listen on")
	open := f.Bool("allow-unauthenticated", false, "take messages and commands without the bearer token of FOGIS_FALLBACK_TOKEN")
	var hosts list
	f.Var(&hosts, "host", "`name` under which it is reached without the token, besides addresses and local names; may be repeated")
	if err := f.parse(args); err != nil {
		return err
	}
	if *addr == "" {
		return fmt.Errorf("%w: serve needs --addr", errUsage)
	}
	opts := c.options(f, map[string]string{"REDIS_DURABLE": "false"}) // it prints and keeps no place in a stream
	client, err := fogispubsub.FromEnv(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	out := newPrinter(c.stdout, 0)
	out.register(client)
	admin, err := client.AdminHandler(httpadmin.Options{AllowUnauthenticated: *open, Hosts: hosts, Logger: opts.Logger})
	if err != nil {
		return fmt.Errorf("%w: %w; set FOGIS_FALLBACK_TOKEN or say --allow-unauthenticated", errUsage, err)
	}
	server := &http.Server{
		Handler:           admin,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute, // more than a message may take to be handled
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "status page: http://%s%s\n", listener.Addr(), dashboardPath)
	fmt.Fprintf(c.stderr, "listening on http://%s%s\n", listener.Addr(), manualSyncPath)

	run, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		defer cancel()
		served <- server.Serve(listener)
	}()
	go c.announce(run, client)
	go func() {
		select {
		case <-out.failed: // what cannot be printed must not be taken
			cancel()
		case <-run.Done():
		}
	}()
	err = errors.Join(client.Run(run), out.err())
	stopping, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	err = errors.Join(err, server.Shutdown(stopping))
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
