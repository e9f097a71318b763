package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/PitchConnect/fogispubsub"
	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/health"
)

// Bounds of the steps that --timeout does not set.
const (
	dockerTimeout = 20 * time.Second
	waitInterval  = 250 * time.Millisecond
)

const redisUsage = `usage: fogis-pubsub redis up|down|status [--file F] [--required] [--timeout D]

  up      check the Compose file, start its service "redis", wait for it, and
          prove that it delivers and that the services' settings reach it
  status  the same without starting anything
  down    stop the service; its data stays in the volume

Each step is a JSON line. Without --required the exit code is 0 whatever fails:
services go on by HTTP, and so does the deployment around this command.
`

// stepLine is the outcome of a step of the deployment.
type stepLine struct {
	Step      string  `json:"step"`
	Status    string  `json:"status"` // ok, warning, failed or skipped
	Detail    string  `json:"detail,omitempty"`
	Cure      string  `json:"cure,omitempty"`
	ElapsedMS float64 `json:"elapsed_ms"`
}

// deployment is one run of the command.
type deployment struct {
	*command
	flags    *flags
	file     string
	required bool
	timeout  time.Duration

	docker    *docker
	compose   *composed
	container *container
	failed    bool
	broken    error // of standard output
}

func (c *command) redis(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(c.stderr, redisUsage)
		return &exitError{code: exitUsage}
	}
	if wantsHelp(args) {
		fmt.Fprint(c.stderr, redisUsage)
		return nil
	}
	verb := args[0]
	d := &deployment{command: c, flags: c.flags("redis "+verb, slog.LevelError)}
	d.flags.StringVar(&d.file, "file", "docker-compose.yml", "Compose `file` with a service redis")
	d.flags.BoolVar(&d.required, "required", false, "exit with 1 when Redis does not work")
	d.flags.DurationVar(&d.timeout, "timeout", 2*time.Minute, "longest `time` to start, until it is healthy, and to stop, each")
	steps := map[string]func(context.Context){"up": d.up, "status": d.status, "down": d.down}[verb]
	if steps == nil {
		return fmt.Errorf("%w: redis %q; \"fogis-pubsub redis -h\" lists what there is", errUsage, verb)
	}
	if err := d.flags.parse(args[1:]); err != nil {
		return err
	}
	if d.timeout <= 0 {
		return fmt.Errorf("%w: --timeout must be more than 0", errUsage)
	}
	steps(ctx)
	d.result(verb)
	switch {
	case d.broken != nil:
		return d.broken
	case ctx.Err() != nil:
		return &exitError{code: exitFailed, text: "interrupted"}
	case d.failed && d.required:
		return &exitError{code: exitFailed}
	}
	return nil
}

func (d *deployment) up(ctx context.Context) {
	d.find(ctx)
	d.verify(ctx)
	d.step(ctx, "start", d.timeout, func(ctx context.Context) (string, string, error) {
		_, err := d.docker.composed(ctx, "up", "-d", redisService)
		return "service redis is started", "docker compose -f " + d.file + " up redis shows what happens", err
	})
	d.step(ctx, "wait", d.timeout, d.wait)
	d.validate(ctx)
}

func (d *deployment) status(ctx context.Context) {
	d.find(ctx)
	d.verify(ctx)
	d.validate(ctx)
}

func (d *deployment) down(ctx context.Context) {
	d.find(ctx)
	d.compose = checkCompose(d.file, d.getenv) // for its secrets: its faults do not matter here
	d.conceal()
	d.step(ctx, "stop", d.timeout, func(ctx context.Context) (string, string, error) {
		_, err := d.docker.composed(ctx, "rm", "--stop", "--force", redisService)
		return "service redis is stopped and its container removed; its volume stays", "docker compose -f " + d.file + " ps shows what runs", err
	})
}

// find is the step that looks for Docker.
func (d *deployment) find(ctx context.Context) {
	d.step(ctx, "docker", dockerTimeout, func(ctx context.Context) (detail, cure string, err error) {
		d.docker, detail, cure, err = findDocker(ctx, d.file)
		return detail, cure, err
	})
}

// verify is the step that judges the Compose file. It is taken without Docker
// too.
func (d *deployment) verify(context.Context) {
	began := time.Now()
	d.compose = checkCompose(d.file, d.getenv)
	d.conceal()
	for _, f := range d.compose.findings {
		status := "warning"
		if f.fault {
			status = "failed"
		}
		d.tell(stepLine{Step: "verify", Status: status, Detail: f.text, Cure: f.cure}, began)
	}
	if !d.compose.faulty() {
		d.tell(stepLine{Step: "verify", Status: "ok", Detail: d.file + " has a service redis that can be started"}, began)
	}
}

// conceal has no text of Docker show a secret.
func (d *deployment) conceal() {
	if d.docker != nil {
		d.docker.hidden = append(d.compose.secrets, d.endpoint().Password.Reveal())
		slices.SortFunc(d.docker.hidden, func(a, b string) int { return len(b) - len(a) })
	}
}

// validate asks the service everything that the others will need.
func (d *deployment) validate(ctx context.Context) {
	d.step(ctx, "running", dockerTimeout, func(ctx context.Context) (string, string, error) {
		cure := "fogis-pubsub redis up --file " + d.file
		c, err := d.docker.inspect(ctx)
		switch {
		case err != nil:
			return "", "", err
		case c == nil:
			return "", cure, errors.New("service redis has no container")
		case !c.State.Running:
			return "", cure, fmt.Errorf("container %s is %s with exit code %d", c.Name, c.State.Status, c.State.ExitCode)
		}
		d.container = c
		return fmt.Sprintf("container %s of image %s is %s", c.Name, c.Config.Image, cmp.Or(c.health(), "running")), "", nil
	})
	var conn *redis.Client
	d.step(ctx, "answers", health.DefaultTimeout, func(ctx context.Context) (string, string, error) {
		addr, err := d.container.address()
		if err != nil {
			return "", `publish the port: "127.0.0.1:6379:6379"`, err
		}
		conn = d.connect(addr)
		return checked(health.Connection(ctx, conn), "PING at "+addr, "docker logs "+d.container.Name+" tells more")
	})
	if conn != nil {
		defer conn.Close()
	}
	d.step(ctx, "pubsub", health.DefaultTimeout, func(ctx context.Context) (string, string, error) {
		return checked(health.RoundTrip(ctx, conn), "a published message came back", "allow the user SUBSCRIBE, PUBLISH and the channels fogis:*")
	})
	d.step(ctx, "services", health.DefaultTimeout, d.services)
}

// wait is the step that waits until the container is healthy.
func (d *deployment) wait(ctx context.Context) (detail, cure string, err error) {
	cure = "docker compose -f " + d.file + " logs redis tells more"
	seen := ""
	var last *container
	for {
		c, err := d.docker.inspect(ctx)
		switch {
		case ctx.Err() != nil:
			return d.waited(last, cure)
		case err != nil:
			return "", cure, err
		case c == nil:
			return "", cure, errors.New("service redis has no container")
		}
		last = c
		now := cmp.Or(c.health(), c.State.Status)
		if now != seen {
			fmt.Fprintf(d.stderr, "   wait: %s is %s\n", c.Name, now)
			seen = now
		}
		switch {
		case c.State.Status == "exited", c.State.Status == "dead":
			return "", cure, fmt.Errorf("container %s ended with exit code %d: %s", c.Name, c.State.ExitCode, d.docker.logs(ctx, c))
		case now == "healthy", now == "running":
			return c.Name + " is " + now, "", nil
		}
		select {
		case <-time.After(waitInterval):
		case <-ctx.Done():
			return d.waited(last, cure)
		}
	}
}

// waited tells that the time to wait is over.
func (d *deployment) waited(c *container, cure string) (string, string, error) {
	if c == nil {
		return "", cure, errors.New("service redis did not show itself in time")
	}
	said := ""
	if h := c.State.Health; h != nil && len(h.Log) > 0 {
		said = "; its check says: " + lastLines(d.docker.hide(h.Log[len(h.Log)-1].Output), 2)
	}
	return "", cure, fmt.Errorf("container %s is %s, and not healthy in time%s", c.Name, cmp.Or(c.health(), c.State.Status), said)
}

// services is the step that connects with the settings of the environment, as
// the services will. Their names for the container hold in Docker's network
// only, so that its address here is dialed for them.
func (d *deployment) services(ctx context.Context) (detail, cure string, err error) {
	cure = "set REDIS_URL for the services: redis://:<the secret's password>@" + redisService + ":" + redisPort
	opts := d.options(d.flags, nil)
	cfg, err := readSettings(opts.Getenv)
	if err != nil {
		return "", "correct the variables", err
	}
	if cfg.Redis.Disabled {
		return "", "unset " + cfg.Redis.DecidedBy, warning("services do not use it: " + cfg.Redis.DecidedBy + " turns Redis off")
	}
	opts.Redis = func(o *redis.Options) {
		if o.TLSConfig == nil {
			o.Dialer = d.dial
		}
	}
	client, err := fogispubsub.New(cfg, opts)
	if err != nil {
		return "", cure, err
	}
	defer client.Close()
	url := cfg.WithDefaults().Redis.URL.String()
	if c := health.Connection(ctx, client.Redis()); c.Status == health.Unhealthy {
		return "", cure, c.Err()
	}
	return checked(health.RoundTrip(ctx, client.Redis()), "a message came back by "+url, cure)
}

func (d *deployment) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(addr); err == nil && port == redisPort && d.container.names(host) {
		if here, err := d.container.address(); err == nil {
			addr = here
		}
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// connect makes a client with the secret's password, or without one that of
// the environment.
func (d *deployment) connect(addr string) *redis.Client {
	o := &redis.Options{
		Addr: addr, Password: d.compose.password,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.Password == "" {
		endpoint := d.endpoint()
		o.Username, o.Password = endpoint.Username, endpoint.Password.Reveal()
	}
	return redis.NewClient(o)
}

// endpoint is that of the environment, zero when that is at fault, which the
// step services tells.
func (d *deployment) endpoint() config.Endpoint {
	cfg, err := readSettings(d.options(d.flags, nil).Getenv)
	if err != nil {
		return config.Endpoint{}
	}
	endpoint, _ := cfg.WithDefaults().Redis.Endpoint()
	return endpoint
}

// checked turns a check into the outcome of a step.
func checked(c health.Check, done, cure string) (string, string, error) {
	if c.Status == health.Unhealthy {
		return "", cure, c.Err()
	}
	return fmt.Sprintf("%s in %v", done, c.Elapsed.Round(10*time.Microsecond)), "", nil
}

// warning is the error of a step that others may follow.
type warning string

func (w warning) Error() string { return string(w) }

// step takes a step within its bound, unless an earlier one failed. The cure
// is that of the error.
func (d *deployment) step(ctx context.Context, name string, bound time.Duration, take func(context.Context) (detail, cure string, err error)) {
	began := time.Now()
	if d.failed {
		d.tell(stepLine{Step: name, Status: "skipped", Detail: "an earlier step failed"}, began)
		return
	}
	fmt.Fprintf(d.stderr, "… %s (at most %v)\n", name, bound)
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	detail, cure, err := take(bounded)
	line := stepLine{Step: name, Status: "ok", Detail: detail}
	if err != nil {
		line.Status, line.Detail, line.Cure = "failed", err.Error(), cure
		if _, mild := errors.AsType[warning](err); mild {
			line.Status = "warning"
		}
	}
	d.tell(line, began)
}

// tell prints the outcome of a step.
func (d *deployment) tell(line stepLine, began time.Time) {
	line.ElapsedMS = float64(time.Since(began).Microseconds()) / 1000
	line.Detail, line.Cure = d.hide(line.Detail), d.hide(line.Cure)
	d.broken = errors.Join(d.broken, printLine(d.stdout, line))
	mark := map[string]string{"ok": "✅", "warning": "⚠️", "failed": "❌", "skipped": "–"}[line.Status]
	fmt.Fprintf(d.stderr, "%s %s: %s\n", mark, line.Step, line.Detail)
	if line.Cure != "" {
		fmt.Fprintf(d.stderr, "   %s\n", line.Cure)
	}
	if line.Status == "failed" {
		d.failed = true
	}
}

// result is the last line.
func (d *deployment) result(verb string) {
	switch {
	case !d.failed && verb == "down":
		d.tell(stepLine{Step: "result", Status: "ok", Detail: "Redis is stopped"}, time.Now())
	case !d.failed:
		d.tell(stepLine{Step: "result", Status: "ok", Detail: "Redis is ready"}, time.Now())
		fmt.Fprintln(d.stderr, health.SummaryHealthy)
	case d.required:
		d.tell(stepLine{Step: "result", Status: "failed", Detail: "Redis does not work, and it is required"}, time.Now())
	default:
		d.tell(stepLine{Step: "result", Status: "warning", Detail: "Redis does not work, and it is optional: the deployment goes on"}, time.Now())
		if verb != "down" && d.getenv("FOGIS_FALLBACK_URL") != "" {
			fmt.Fprintln(d.stderr, health.SummaryFallback)
		}
	}
}
