package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// killDelay is how long a command of Docker may take to end when it is asked
// to.
const killDelay = 3 * time.Second

// maxOutput bounds what is kept of such a command.
const maxOutput = 1 << 20

// docker calls the Docker command line for one Compose file.
type docker struct {
	compose []string // docker compose, or docker-compose
	file    string
	hidden  []string // what no text may show
}

// container is the part of docker inspect that is looked at.
type container struct {
	Name  string
	State struct {
		Status   string
		Running  bool
		ExitCode int
		Health   *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	Config          struct{ Image string }
	NetworkSettings struct {
		Ports    map[string][]struct{ HostIp, HostPort string }
		Networks map[string]struct {
			IPAddress string
			Aliases   []string
		}
	}
}

// errNoDocker is wrapped when there is nothing to deploy with.
var errNoDocker = errors.New("no Docker")

// findDocker looks for Docker, its daemon and Compose, and tells their
// versions. The error comes with its cure.
func findDocker(ctx context.Context, file string) (d *docker, version, cure string, err error) {
	d = &docker{file: file}
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, "", "install Docker Engine and its Compose plugin, or run Redis elsewhere and set REDIS_URL", fmt.Errorf("%w: docker is not on PATH", errNoDocker)
	}
	server, err := d.run(ctx, "docker", "version", "--format", "{{.Server.Version}}")
	if err != nil {
		return nil, "", "start the daemon (systemctl start docker); the user needs the right to its socket (group docker)", fmt.Errorf("the Docker daemon does not answer: %w", err)
	}
	for _, compose := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if found, err := d.run(ctx, append(compose, "version", "--short")...); err == nil {
			d.compose = compose
			return d, fmt.Sprintf("Docker %s, %s %s", firstLine(server), strings.Join(compose, " "), firstLine(found)), "", nil
		}
	}
	return nil, "", "install the package docker-compose-plugin or docker-compose", fmt.Errorf("%w Compose: neither docker compose nor docker-compose works", errNoDocker)
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line
}

// run calls a command and returns its standard output. Its error holds the end
// of what the command said.
func (d *docker) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	var stdout, stderr limited
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	what := strings.Join(args[:min(len(args), 2)], " ")
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s: not done in time: %w", what, ctx.Err())
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", what, ctx.Err())
	}
	said := lastLines(d.hide(string(append(stdout.whole(), stderr.whole()...))), 5)
	if said == "" {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return nil, fmt.Errorf("%s: %w: %s", what, err, said)
}

func (d *docker) hide(text string) string {
	for _, secret := range d.hidden {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return userOfURL.ReplaceAllString(text, "${1}***@")
}

// lastLines joins the last lines of a text that are not empty. What is to be
// hidden is hidden before: a line may be cut within it.
func lastLines(text string, n int) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		line = strings.TrimSpace(line)
		lines[i] = strings.ToValidUTF8(line[:min(len(line), 300)], "")
	}
	return strings.Join(lines, "; ")
}

// limited keeps the first part of what is written and drops the rest.
type limited struct{ bytes.Buffer }

func (l *limited) Write(data []byte) (int, error) {
	l.Buffer.Write(data[:min(len(data), max(0, maxOutput-l.Len()))])
	return len(data), nil
}

// whole is what was written, without a last line that may be cut.
func (l *limited) whole() []byte {
	text := l.Bytes()
	if len(text) == maxOutput {
		text = text[:max(0, bytes.LastIndexByte(text, '\n'))]
	}
	return slices.Clip(text)
}

// composed calls Compose with the file.
func (d *docker) composed(ctx context.Context, args ...string) ([]byte, error) {
	return d.run(ctx, slices.Concat(d.compose, []string{"-f", d.file}, args)...)
}

// inspect returns the container of the Redis service, or nil when there is
// none.
func (d *docker) inspect(ctx context.Context) (*container, error) {
	ids, err := d.composed(ctx, "ps", "--all", "--quiet", redisService)
	if err != nil {
		return nil, err
	}
	id := firstLine(ids)
	if id == "" {
		return nil, nil
	}
	text, err := d.run(ctx, "docker", "inspect", "--type", "container", id)
	if err != nil {
		return nil, err
	}
	var found []container
	if err := json.Unmarshal(text, &found); err != nil || len(found) != 1 {
		return nil, errors.New("docker inspect: the answer is not one container")
	}
	found[0].Name = strings.TrimPrefix(found[0].Name, "/")
	return &found[0], nil
}

// logs returns the end of the container's log.
func (d *docker) logs(ctx context.Context, c *container) string {
	cmd := exec.CommandContext(ctx, "docker", "logs", "--tail", "5", c.Name)
	cmd.WaitDelay = killDelay
	var out limited
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.Run() != nil {
		return ""
	}
	return lastLines(d.hide(string(out.whole())), 5)
}

// health tells the state of the container's health check, "" without one.
func (c *container) health() string {
	if c.State.Health == nil || c.State.Health.Status == "none" {
		return ""
	}
	return c.State.Health.Status
}

// address is where this computer reaches the container's Redis: by its
// published port, else by its address in a network of Docker.
func (c *container) address() (string, error) {
	if published := c.NetworkSettings.Ports[redisPort+"/tcp"]; len(published) > 0 {
		host := published[0].HostIp
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, published[0].HostPort), nil
	}
	for _, network := range c.NetworkSettings.Networks {
		if network.IPAddress != "" {
			return net.JoinHostPort(network.IPAddress, redisPort), nil
		}
	}
	return "", errors.New("the container publishes no port and has no address in a network")
}

// names tells whether services in the container's networks reach it as host.
func (c *container) names(host string) bool {
	if host == c.Name {
		return true
	}
	for _, network := range c.NetworkSettings.Networks {
		if slices.Contains(network.Aliases, host) {
			return true
		}
	}
	return false
}
